/**
 * Runs a function just before each call of a method, on any object of a class, until it is closed.
 * If the function returns a promise, the call waits for it.
 */
export function beforeCalls(
  prototype: object,
  method: string,
  act: (self: unknown, args: readonly unknown[]) => Promise<unknown> | undefined,
): { close(): Promise<void> } {
  const original = Reflect.get(prototype, method) as (...args: unknown[]) => unknown;
  Reflect.set(prototype, method, function (this: unknown, ...args: unknown[]): unknown {
    const acted = act(this, args);
    return acted ? acted.then(() => original.apply(this, args)) : original.apply(this, args);
  });
  return {
    close: async () => {
      Reflect.set(prototype, method, original);
    },
  };
}
