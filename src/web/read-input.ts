import type { z } from 'zod';
import { didYouMean } from '../did-you-mean.js';
import { runInEmptyContext } from '../empty-context.js';
import { TaskflowError } from '../errors.js';
import { isPlainObject, ownMembers } from '../plain-object.js';
import { quote } from '../show-value.js';
import { flawOf, memberAt } from '../tasks/check-schema.js';
import type * as Schemas from './schemas.js';

/** An object whose members are all known. */
type Shape = z.ZodObject;

/** The schemas, loaded with the first request that needs them. */
export const loadSchemas = (): Promise<typeof Schemas> =>
  runInEmptyContext(() => import('./schemas.js'));

/**
 * Reads a query string: numbers from digits, lists from parameters that repeat, all else as text.
 * An error about a query that takes no parameters lists the members of the body.
 *
 * @throws TaskflowError INVALID_INPUT naming the parameter that is wrong, and what is accepted.
 */
export async function readQuery<N extends keyof typeof Schemas>(
  name: N,
  querystring: string,
  body?: keyof typeof Schemas,
): Promise<z.output<(typeof Schemas)[N]>> {
  const schemas = await loadSchemas();
  const schema = schemas[name];
  const given = new URLSearchParams(querystring);
  const values: Record<string, unknown> = Object.create(null);
  const { shape }: Shape = schema;
  for (const key of new Set(given.keys())) {
    if (!Object.hasOwn(shape, key))
      throw invalid(
        `Unknown query parameter ${quote(key)}.${allowedNames(key, schema, body && schemas[body])}`,
      );
    values[key] = fieldValue(shape[key], key, given.getAll(key));
  }
  return check(schema, values, ([key]) => String(key));
}

/**
 * Reads the members of a body.
 *
 * @throws TaskflowError INVALID_INPUT naming the member that is wrong, and what is accepted.
 */
export async function readFields<N extends keyof typeof Schemas>(
  name: N,
  fields: Readonly<Record<string, unknown>>,
): Promise<z.output<(typeof Schemas)[N]>> {
  const schema = (await loadSchemas())[name];
  const unknown = Object.keys(fields).find((key) => !Object.hasOwn(schema.shape, key));
  if (unknown !== undefined)
    throw invalid(`Unknown member ${quote(unknown)} in the body.${allowedNames(unknown, schema)}`);
  // The conditions of a command are an object too.
  const own = Object.entries(fields).map(([key, value]) => [
    key,
    isPlainObject(value) ? ownMembers(value) : value,
  ]);
  return check(
    schema,
    ownMembers(Object.fromEntries(own)),
    (path) => memberAt(fields, path).name || 'The body',
  );
}

/** Returns the names that are allowed instead of an unknown one. A route may take only a body. */
function allowedNames(unknown: string, { shape }: Shape, body?: Shape): string {
  const known = Object.keys(shape);
  if (known.length > 0) return `${didYouMean(unknown, known)} Allowed: ${known.join(', ')}.`;
  const members = body ? ` Members of its body: ${Object.keys(body.shape).join(', ')}.` : '';
  return ` This route takes no query parameters.${members}`;
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

/** Returns the type of a field, optional or not. It reads the definition, to load no zod. */
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
  if (success) return ownMembers(data);
  const { path, message } = flawOf(error);
  throw invalid(`${nameOf(path)} ${message}.`);
}

function invalid(detail: string): TaskflowError {
  return new TaskflowError('INVALID_INPUT', detail);
}
