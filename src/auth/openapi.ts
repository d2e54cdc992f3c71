import { mediaTypes } from '../http/body.js';
import { pathItems, pathParameters } from '../http/path-items.js';
import type { Route } from '../http/routes.js';

/*
 * The OpenAPI document of the task routes includes the routes of the login. Each route has its
 * texts in its row of the table, and this file turns them into operations. The schemas are plain
 * JSON, so that an app with only a login does not load zod.
 */

/** The OpenAPI texts of a route. */
interface Operation {
  /** `operationId`. */
  id: string;
  summary: string;
  /** Query parameters. */
  query?: readonly { name: string }[];
  /** Schema of the body. */
  body?: object;
  /** Types of the body. Default: both. */
  bodyTypes?: readonly (keyof typeof mediaTypes)[];
  /** Successful responses by status. A response without a body is a text. */
  answers: Readonly<Record<number, string | object>>;
  /**
   * Texts of errors by status, in addition to the errors of every route that requires a session.
   */
  errors?: Readonly<Record<number, string>>;
}

/** A route of the login. */
export interface LoginRoute extends Route {
  /** `null` for assets of the pages. */
  operation: Operation | null;
}

const text = { type: 'string' };
const time = { type: 'string', format: 'date-time' };

function object(properties: Record<string, object>, optional: readonly string[] = []): object {
  const required = Object.keys(properties).filter((name) => !optional.includes(name));
  return { type: 'object', properties, required, additionalProperties: false };
}

export const sessionSchema = object({
  username: text,
  strategy: text,
  roles: { type: 'array', items: text },
  issuedAt: time,
  expiresAt: time,
});
const openSession = object(
  {
    id: text,
    username: text,
    strategy: text,
    startedAt: time,
    lastUsedAt: time,
    expiresAt: time,
    ip: text,
    userAgent: text,
    current: { type: 'boolean' },
  },
  ['ip', 'userAgent'],
);
export const sessionPageSchema = object({
  items: { type: 'array', items: openSession },
  nextCursor: { type: ['string', 'null'] },
});
export const tokenSchema = object({
  token: text,
  tokenType: { const: 'Bearer' },
  username: text,
  expiresAt: time,
});
export const credentialsSchema = object(
  { username: text, password: text, strategy: text, next: text },
  ['strategy', 'next'],
);

const count = { type: 'integer', minimum: 0 };
export const strategySchema = object({
  name: text,
  label: text,
  kind: { enum: ['password', 'redirect', 'request'] },
  state: { enum: ['up', 'down', 'unknown'] },
  since: { type: ['string', 'null'], format: 'date-time' },
  answeredAt: { type: ['string', 'null'], format: 'date-time' },
  lastError: { type: ['string', 'null'] },
  isChecked: { type: 'boolean' },
  logins: count,
  rejected: count,
  errors: count,
});
export const strategyListSchema = object({ items: { type: 'array', items: strategySchema } });
const list = { type: 'array', items: text };
export const newTokenSchema = object(
  {
    name: { ...text, maxLength: 100 },
    roles: list,
    expiresIn: { type: 'number', minimum: 60 },
  },
  ['roles', 'expiresIn'],
);
export const rotationSchema = object(
  { keepOldFor: { type: 'number', minimum: 0, maximum: 86_400 } },
  ['keepOldFor'],
);
export const createdTokenSchema = object({
  id: text,
  name: text,
  token: text,
  roles: list,
  expiresAt: time,
});
const orNull = { type: ['string', 'null'] };
export const tokenListSchema = object({
  items: {
    type: 'array',
    items: object({
      id: text,
      name: text,
      owner: text,
      roles: list,
      replacedBy: orNull,
      ownerChecked: { type: 'boolean' },
      createdAt: time,
      expiresAt: time,
      lastUsedAt: { ...orNull, format: 'date-time' },
      lastUsedIp: orNull,
    }),
  },
});

export const endedSchema = object({ logout_token: text });

/** Describes a query parameter. */
export const inQuery = (name: string, description: string, schema: object = text) => ({
  name,
  in: 'query',
  description,
  schema,
});

/** Describes a response. */
export const answerOf = (
  description: string,
  schema: object = text,
  type: string = mediaTypes.json,
) => ({
  description,
  content: { [type]: { schema } },
});

const problem = { $ref: '#/components/schemas/Problem' };

const noSession = { 401: 'The request has no valid session' };
const guarded = {
  403: 'The request came from another site',
  503: 'The store or the strategy does not answer',
};

/** Returns the paths of the login below a prefix, such as `/tasks`. */
export function loginPaths(routes: readonly LoginRoute[], mount: string): Record<string, object> {
  return pathItems(
    mount,
    routes.flatMap(({ operation, ...route }) =>
      operation ? [{ ...route, operation: describe(operation, route) }] : [],
    ),
  );
}

function describe(
  { id, summary, query = [], body, bodyTypes = ['json', 'form'], answers, errors }: Operation,
  { path, requiredRole }: Pick<Route, 'path' | 'requiredRole'>,
): object {
  const isPublic = requiredRole === 'public';
  const parameters = [...pathParameters(path), ...query];
  const content = Object.fromEntries(bodyTypes.map((type) => [mediaTypes[type], { schema: body }]));
  const isRequired = (body as { required?: readonly string[] })?.required?.length !== 0;
  const results = Object.entries(answers).map(([status, answer]) => [
    status,
    typeof answer === 'string' ? { description: answer } : answer,
  ]);
  const problems = Object.entries({
    ...(!isPublic && guarded),
    ...(!isPublic && requiredRole !== 'page' && noSession),
    ...errors,
  }).map(([status, description]) => [
    status,
    answerOf(description, problem, 'application/problem+json'),
  ]);
  return {
    tags: ['login'],
    operationId: id,
    summary,
    ...(isPublic && { security: [] }),
    ...(parameters.length > 0 && { parameters }),
    ...(body && { requestBody: { required: isRequired, content } }),
    responses: Object.fromEntries([...results, ...problems]),
  };
}
