import type { z } from 'zod';
import type * as Answers from '../web/answers.js';
import type * as Schemas from '../web/schemas.js';

/** A query or a body as callers give it: lists may be read-only, and times may be Dates. */
export type Given<N> = N extends keyof typeof Schemas
  ? Loose<z.input<(typeof Schemas)[N]>>
  : undefined;
type Loose<T> = T extends readonly (infer U)[]
  ? readonly Loose<U>[]
  : T extends object
    ? { readonly [K in keyof T]: Loose<T[K]> | (K extends 'from' | 'to' | 'before' ? Date : never) }
    : T;

/** A body in which only a reason may be `undefined`. */
export type Body<N> = {
  readonly [K in keyof Given<N>]: K extends 'reason'
    ? Given<N>[K]
    : Exclude<Given<N>[K], undefined>;
};

/** The JSON of an answer. */
export type Answer<N> = N extends keyof typeof Answers ? z.output<(typeof Answers)[N]> : never;
