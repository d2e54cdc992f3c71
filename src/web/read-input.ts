import type { z } from 'zod';
import { didYouMean } from '../did-you-mean.js';
import { TaskflowError } from '../errors.js';
import { quote } from '../show-value.js';
import { flawOf, memberAt } from '../tasks/check-schema.js';

/** An object whose members are all known. */
type Shape = z.ZodObject;

/**
 * Reads a query string: numbers from digits, lists from parameters that repeat, all else as text.
 *
 * @throws TaskflowError INVALID_INPUT naming the parameter that is wrong, and what is right.
 */
export function readQuery<S extends Shape>(schema: S, querystring: string): z.output<S> {
  const given = new URLSearchParams(querystring);
  const values: Record<string, unknown> = {};
  for (const name of new Set(given.keys())) {
    if (!Object.hasOwn(schema.shape, name))
      throw invalid(`Unknown query parameter ${quote(name)}.${allowedNames(name, schema)}`);
    values[name] = fieldValue(schema.shape[name], name, given.getAll(name));
  }
  return check(schema, values, ([name]) => String(name));
}

/** Reads the members of a body. @throws TaskflowError INVALID_INPUT naming the member that is wrong, and what is right. */
export function readFields<S extends Shape>(
  schema: S,
  fields: Readonly<Record<string, unknown>>,
): z.output<S> {
  const unknown = Object.keys(fields).find((name) => !Object.hasOwn(schema.shape, name));
  if (unknown !== undefined)
    throw invalid(`Unknown member ${quote(unknown)} in the body.${allowedNames(unknown, schema)}`);
  return check(schema, fields, (path) => memberAt(fields, path).name || 'The body');
}

function allowedNames(unknown: string, { shape }: Shape): string {
  const known = Object.keys(shape);
  return known.length === 0
    ? ' None is allowed.'
    : `${didYouMean(unknown, known)} Allowed: ${known.join(', ')}.`;
}

function fieldValue(
  field: z.core.$ZodType | undefined,
  name: string,
  texts: readonly string[],
): unknown {
  const kind = kindOf(field);
  if (kind === 'array') return texts;
  if (texts.length > 1)
    throw invalid(`${name} is given ${texts.length} times. Give it at most once.`);
  const [text = ''] = texts;
  if (kind === 'number') return /^\d{1,9}$/.test(text) ? Number(text) : text;
  return text;
}

/** The kind of a field, whether it must be there or not. By its definition, so that this file loads no zod. */
function kindOf(field: z.core.$ZodType | undefined): string | undefined {
  const def = field?._zod.def as z.core.$ZodTypeDef & {
    innerType?: z.core.$ZodType;
    out?: z.core.$ZodType;
  };
  if (def?.type === 'optional') return kindOf(def.innerType);
  return def?.type === 'pipe' ? kindOf(def.out) : def?.type;
}

function check<S extends Shape>(
  schema: S,
  values: unknown,
  nameOf: (path: readonly PropertyKey[]) => string,
): z.output<S> {
  const { success, data, error } = schema.safeParse(values);
  if (success) return data;
  const { path, message } = flawOf(error);
  throw invalid(`${nameOf(path)} ${message}.`);
}

function invalid(detail: string): TaskflowError {
  return new TaskflowError('INVALID_INPUT', detail);
}
