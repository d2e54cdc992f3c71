/**
 * The routes of the login as OpenAPI path items, for the document of the task routes. Plain JSON,
 * so that a login alone does not load zod.
 */

const text = { type: 'string' };
const time = { type: 'string', format: 'date-time' };

function object(properties: Record<string, object>, optional: readonly string[] = []): object {
  const required = Object.keys(properties).filter((name) => !optional.includes(name));
  return { type: 'object', properties, required, additionalProperties: false };
}

const session = {
  username: text,
  strategy: text,
  roles: { type: 'array', items: text },
  issuedAt: time,
  expiresAt: time,
};
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
const token = object({
  token: text,
  tokenType: { const: 'Bearer' },
  username: text,
  expiresAt: time,
});
const credentials = object({ username: text, password: text, strategy: text, next: text }, [
  'strategy',
  'next',
]);

const json = (schema: object) => ({ 'application/json': { schema } });
const page = (description: string) => ({ description, content: { 'text/html': { schema: text } } });
const done = (description: string, schema?: object) => ({
  description,
  ...(schema && { content: json(schema) }),
});
const problems = (texts: Record<number, string>): Record<string, object> =>
  Object.fromEntries(
    Object.entries(texts).map(([status, description]) => [
      status,
      {
        description,
        content: {
          'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } },
        },
      },
    ]),
  );

const guarded = {
  401: 'The request has no valid session',
  403: 'The request came from another site',
  503: 'The store or the strategy does not answer',
};
const ofUser = { ...guarded, 400: 'The request is not valid' };
const userQuery = [
  {
    name: 'username',
    in: 'query',
    description: 'The user. Only an administrator may name another one',
    schema: text,
  },
  {
    name: 'strategy',
    in: 'query',
    description: 'The strategy that this user signed in with',
    schema: text,
  },
];

const paging = [
  {
    name: 'limit',
    in: 'query',
    description: 'Sessions on a page',
    schema: { type: 'integer', minimum: 1, maximum: 500, default: 100 },
  },
  { name: 'cursor', in: 'query', description: 'The nextCursor of the previous page', schema: text },
];
const sessionPage = object({
  items: { type: 'array', items: openSession },
  nextCursor: { type: ['string', 'null'] },
});

/** Returns the paths of the login below a prefix, such as `/tasks`. */
export function loginPaths(mount: string): Record<string, object> {
  const base = { tags: ['login'] };
  return {
    [`${mount}/auth/login`]: {
      get: {
        ...base,
        operationId: 'showLogin',
        summary: 'The login page',
        security: [],
        parameters: [
          {
            name: 'next',
            in: 'query',
            description: 'The path to redirect to after the login',
            schema: text,
          },
        ],
        responses: {
          200: page('The page'),
          302: { description: 'The user is signed in already' },
          ...problems({ 400: 'The request is not valid' }),
        },
      },
      post: {
        ...base,
        operationId: 'login',
        summary: 'Signs in. A JSON client gets a token, a form gets a cookie',
        security: [],
        requestBody: {
          required: true,
          content: {
            ...json(credentials),
            'application/x-www-form-urlencoded': { schema: credentials },
          },
        },
        responses: {
          200: done('A token', token),
          303: { description: 'The session cookie and the redirect' },
          ...problems({
            400: 'The body is not valid',
            401: 'Wrong name or password',
            403: 'The request came from another site',
            408: 'The body took too long',
            413: 'The body is over 16 KiB',
            415: 'The body is neither JSON nor a form',
            429: 'Too many attempts; see Retry-After',
            503: 'The store does not answer',
          }),
        },
      },
    },
    [`${mount}/auth/logout`]: {
      get: {
        ...base,
        operationId: 'followLogout',
        summary: 'Signs out and redirects to the login page',
        security: [],
        responses: {
          302: { description: 'Signed out' },
          ...problems({ 403: 'The request came from another site' }),
        },
      },
      post: {
        ...base,
        operationId: 'logout',
        summary: 'Signs out',
        security: [],
        responses: {
          204: { description: 'Signed out' },
          303: { description: 'Signed out, for a form' },
          ...problems({ 403: 'The request came from another site' }),
        },
      },
    },
    [`${mount}/auth/session`]: {
      get: {
        ...base,
        operationId: 'getSession',
        summary: 'The session of the request',
        responses: { 200: done('The session', object(session)), ...problems(guarded) },
      },
    },
    [`${mount}/auth/sessions`]: {
      get: {
        ...base,
        operationId: 'listSessions',
        summary: 'The open sessions of a user',
        parameters: [...userQuery, ...paging],
        responses: {
          200: done('The sessions, the most recently used first', sessionPage),
          ...problems(ofUser),
        },
      },
      delete: {
        ...base,
        operationId: 'endSessions',
        summary: 'Signs a user out everywhere',
        parameters: userQuery,
        responses: { 204: { description: 'Done' }, ...problems(ofUser) },
      },
    },
    [`${mount}/auth/sessions/{id}`]: {
      delete: {
        ...base,
        operationId: 'endSession',
        summary: 'Ends one session',
        parameters: [{ name: 'id', in: 'path', required: true, schema: text }, ...userQuery],
        responses: {
          204: { description: 'Done' },
          ...problems({ ...ofUser, 404: 'There is no such session' }),
        },
      },
    },
  };
}
