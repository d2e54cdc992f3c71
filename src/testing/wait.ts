/** Resolves to the first truthy answer, or rejects after a number of seconds. */
export async function waitFor<T>(
  ask: () => T | Promise<T>,
  seconds = 60,
): Promise<Exclude<T, false | null | undefined>> {
  const end = performance.now() + seconds * 1000;
  for (;;) {
    const answer = await ask();
    if (answer) return answer as Exclude<T, false | null | undefined>;
    if (performance.now() > end) throw new Error(`not within ${seconds} s: ${ask}`);
    await sleep(0.01);
  }
}

/**
 * Repeats assertions until they hold, because a page changes a moment after the server has
 * answered. Throws the error of the last failed assertion after a number of seconds.
 */
export async function eventually(assertions: () => Promise<void>, seconds = 60): Promise<void> {
  const end = performance.now() + seconds * 1000;
  for (;;) {
    try {
      return await assertions();
    } catch (error) {
      if (performance.now() > end) throw error;
      await sleep(0.02);
    }
  }
}

/** A promise that the test resolves. */
export interface Gate {
  readonly passed: Promise<void>;
  open(): void;
}

/**
 * Makes a gate at which a handler waits. A test may open it before the handler arrives, because a
 * task is shown as running a moment before its handler is called.
 */
export function gate(): Gate {
  let open = (): void => {};
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { passed, open };
}

export function sleep(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}
