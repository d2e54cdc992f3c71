import type { Context } from 'koa';

/** A value that is stored on a request, so that later middlewares can read it. */
export interface PerRequest<T> {
  get(ctx: Context): T | undefined;
  set(ctx: Context, value: T): void;
}

/**
 * Creates storage for one value per request. The value is a property with a private symbol as its
 * key. A WeakMap would be slower: one entry per request costs more in garbage collection than all
 * other work of a guard.
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
