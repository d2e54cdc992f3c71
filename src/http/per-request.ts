import type { Context } from 'koa';

/** A value kept with a request, for whoever sees the same request later. */
export interface PerRequest<T> {
  get(ctx: Context): T | undefined;
  set(ctx: Context, value: T): void;
}

/**
 * A place for one value on each request. It is a property that nobody else can name, and not a
 * WeakMap: one entry for each request costs the garbage collector more than all the rest of a guard
 * does.
 */
export function perRequest<T>(name: string): PerRequest<T> {
  const key = Symbol(`koa-taskflow ${name}`);
  type Keeping = { [key]?: T };
  return {
    get: (ctx) => (ctx.req as Keeping)[key],
    set: (ctx, value) => {
      (ctx.req as Keeping)[key] = value;
    },
  };
}
