import type { Context } from 'koa';
import type { z } from 'zod';
import { TaskflowError } from '../errors.js';
import type { Route, RouteTable } from '../http/routes.js';
import type { TaskSource } from '../tasks/source.js';
import type * as Answers from './answers.js';
import { readQuery } from './read-input.js';
import type * as Schemas from './schemas.js';

/*
 * A row holds everything about one route of the tasks: its method and path, the role it requires,
 * the schemas of its query, body and answer, its text in the OpenAPI document, and its handler.
 * From the rows come the routes that `taskRoutes` serves, the checks of each request, the OpenAPI
 * document (`openapi.ts`) and the types of the client (`client/client.ts`).
 *
 * A row names its schemas instead of holding them, because zod must not be loaded before a request
 * needs it. The compiler knows the schema of each name, so a handler gets typed values.
 */

/** The groups of routes in the OpenAPI document. */
export const tags = {
  tasks: 'Single tasks, and lists of them',
  many: 'One command for many tasks',
  figures: 'Statistics over tasks',
  control: 'Queues and schedules',
  service: 'The service itself',
  login: 'Signing in and out',
};

/** An answer that no schema describes. */
interface Media {
  /** Media type, as the OpenAPI document names it. */
  type: string;
  description: string;
  /** Media types that a request can accept. */
  accepts: readonly string[];
  /** JSON schema. Default: a string. */
  schema?: object;
}

const ndjson = { type: 'application/x-ndjson', accepts: ['text/csv', 'application/x-ndjson'] };

/** The answers that no schema describes. */
const media = {
  prometheusText: {
    type: 'text/plain',
    accepts: ['text/plain; version=0.0.4'],
    description: 'Prometheus text format 0.0.4',
  },
  taskFile: { ...ndjson, description: 'One task per line, or `text/csv` with `format=csv`' },
  auditFile: { ...ndjson, description: 'One event per line, or `text/csv` with `format=csv`' },
  eventStream: {
    type: 'text/event-stream',
    accepts: ['text/event-stream'],
    description: 'Server-sent events',
  },
  openApi: {
    type: 'application/json',
    accepts: ['application/json'],
    description: 'Done',
    schema: {
      type: 'object',
      properties: { openapi: { type: 'string' } },
      required: ['openapi'],
      additionalProperties: {},
    },
  },
} satisfies Record<string, Media>;

/** The name of the schema of a query, such as `listQuery`. */
export type QueryName = Extract<keyof typeof Schemas, `${string}Query`>;
/** The name of the schema of a body, such as `bulkBody`. */
export type BodyName = Extract<keyof typeof Schemas, `${string}Body`>;
/** The name of the schema of an answer, or of an answer in `media`. */
export type AnswerName = keyof typeof Answers | keyof typeof media;

/** A checked query or body. */
export type Input<N> = N extends keyof typeof Schemas ? z.output<(typeof Schemas)[N]> : undefined;
/** The answer of a handler. */
export type Answer<N extends AnswerName> = AnswerTypes[N];
type AnswerTypes = {
  [N in keyof typeof Answers]: ReadOnly<z.output<(typeof Answers)[N]>>;
} & { [N in keyof typeof media]: object | string };

type ReadOnly<T> = T extends readonly (infer U)[]
  ? readonly ReadOnly<U>[]
  : T extends object
    ? { readonly [K in keyof T]: ReadOnly<T[K]> }
    : T;

/** Method and path below the mount, such as `GET /:id`. The path of the mount itself is empty. */
export type Key = `${Route['method']} ${string}`;

/** The name of the parameter in the path of a key. */
export type ParamOf<K> = K extends `${string}:${infer Rest}`
  ? Rest extends `${infer Name}/${string}`
    ? Name
    : Rest
  : never;

/** What a row says of its route: for the checks of a request and for the OpenAPI document. */
export interface Columns<Q, B, A> {
  /** `operationId`. */
  id: string;
  summary: string;
  tag: keyof typeof tags;
  requiredRole: Exclude<Route['requiredRole'], 'page'>;
  query?: Q;
  body?: B;
  answer: A;
  /** Status of an answer that is not an error. Default 200. */
  status?: 201 | 202;
  /** Statuses of errors that do not follow from the other columns. */
  errors?: readonly number[];
}

/** One route of the tasks. */
export interface Row<
  K extends Key = Key,
  Q extends QueryName | undefined = QueryName | undefined,
  B extends BodyName | undefined = BodyName | undefined,
  A extends AnswerName = AnswerName,
> extends Columns<Q, B, A> {
  readonly key: K;
  /** The name of a command in the audit; absent for a route that only reads. */
  readonly action?: string;
  /** Makes the route that a middleware serves. */
  route(shared: Shared): Route;
}

/** What the routes of one middleware share. */
export interface Shared extends Pick<RouteTable, 'access' | 'mount' | 'logger'> {
  tasks: TaskSource;
  /** Whether the detail of a task shows its arguments. */
  showsArgs: boolean;
  /** All rows of the middleware. */
  rows: readonly Row[];
}

/** What a handler gets. */
export interface RowRequest<K, Q> extends Shared {
  ctx: Context;
  /** Decoded parameters of the path. */
  params: Readonly<Record<ParamOf<K>, string>>;
  query: Input<Q>;
}

/** Makes the row of a route that reads. The body of its answer is what the handler returns. */
export function readRow<
  const K extends `GET ${string}`,
  A extends AnswerName,
  Q extends QueryName | undefined = undefined,
>(
  key: K,
  {
    handler,
    ...columns
  }: Columns<Q, undefined, A> & {
    handler: (request: RowRequest<NoInfer<K>, Q>) => Promise<Answer<A>>;
  },
): Row<K, Q, undefined, A> {
  const { requiredRole, query: name, answer } = columns;
  return {
    ...columns,
    key,
    route: (shared) => ({
      ...addressOf(key),
      requiredRole,
      produces: mediaOf(answer)?.accepts ?? ['application/json'],
      handler: async (ctx, { params }) => {
        const query = await readRowQuery(name, ctx.querystring);
        ctx.body = await handler({ ...shared, ctx, params, query });
      },
    }),
  };
}

/** Returns the answer of a name in `media`; `undefined` for the name of a schema. */
export function mediaOf(name: AnswerName): Media | undefined {
  return (media as Partial<Record<AnswerName, Media>>)[name];
}

/**
 * Makes the row of a route that another middleware serves. `taskRoutes` knows it so that its path
 * is not the id of a task, and describes it.
 */
export function externalRow<const K extends Key, A extends AnswerName>(
  key: K,
  columns: Columns<QueryName, undefined, A>,
): Row<K, QueryName, undefined, A> {
  return {
    ...columns,
    key,
    route: () => ({ ...addressOf(key), requiredRole: columns.requiredRole, handler: notMounted }),
  };
}

/** Answers for a middleware that is not mounted. */
export function notMounted(): never {
  throw new TaskflowError('NOT_FOUND', 'There is nothing at this address.');
}

/** Returns the method and the path of a key. */
export function addressOf(key: Key): Pick<Route, 'method' | 'path'> {
  const [method, path = ''] = key.split(' ') as [Route['method'], string?];
  return { method, path };
}

/**
 * Reads the query of a row.
 * @throws TaskflowError INVALID_INPUT naming what is wrong.
 */
export async function readRowQuery<Q extends QueryName | undefined>(
  name: Q | undefined,
  querystring: string,
  body?: BodyName,
): Promise<Input<Q>> {
  return (name && (await readQuery(name, querystring, body))) as Input<Q>;
}
