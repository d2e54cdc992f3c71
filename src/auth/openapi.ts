/** The routes of the login as OpenAPI path items, for the document of the task routes. In plain JSON: a login alone loads no zod. */

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
const token = object({ token: text, tokenType: { const: 'Bearer' }, username: text, expiresAt: time });
const credentials = object({ username: text, password: text, strategy: text, next: text }, ['strategy', 'next']);

const json = (schema: object) => ({ 'application/json': { schema } });
const page = (description: string) => ({ description, content: { 'text/html': { schema: text } } });
const done = (description: string, schema?: object) => ({ description, ...(schema && { content: json(schema) }) });
const problems = (texts: Record<number, string>): Record<string, object> =>
  Object.fromEntries(
    Object.entries(texts).map(([status, description]) => [
      status,
      { description, content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } } },
    ]),
  );

const guarded = { 401: 'Nobody is signed in', 403: 'Another site sent this', 503: 'Nobody can say who is signed in' };
const ofSomebody = { ...guarded, 400: 'Something in the request is wrong' };
const whose = [
  { name: 'username', in: 'query', description: 'Another user, for an administrator', schema: text },
  { name: 'strategy', in: 'query', description: 'By which that user signed in', schema: text },
];

const paging = [
  { name: 'limit', in: 'query', description: 'Sessions on a page', schema: { type: 'integer', minimum: 1, maximum: 500, default: 100 } },
  { name: 'cursor', in: 'query', description: 'The nextCursor of the page before', schema: text },
];
const sessionPage = object({ items: { type: 'array', items: openSession }, nextCursor: { type: ['string', 'null'] } });

/** The paths below a mount as a client sees it, such as `/tasks`. */
export function loginPaths(mount: string): Record<string, object> {
  const base = { tags: ['login'] };
  return {
    [`${mount}/auth/login`]: {
      get: {
        ...base,
        operationId: 'showLogin',
        summary: 'The login page',
        security: [],
        parameters: [{ name: 'next', in: 'query', description: 'Where to go then', schema: text }],
        responses: {
          200: page('The page'),
          302: { description: 'Signed in already' },
          ...problems({ 400: 'Something in the request is wrong' }),
        },
      },
      post: {
        ...base,
        operationId: 'login',
        summary: 'Signs in: JSON gets a token, a form a cookie',
        security: [],
        requestBody: {
          required: true,
          content: { ...json(credentials), 'application/x-www-form-urlencoded': { schema: credentials } },
        },
        responses: {
          200: done('A token', token),
          303: { description: 'The cookie, and where to go' },
          ...problems({
            400: 'The body is not what it should be',
            401: 'Wrong name or password',
            403: 'Another site sent this',
            408: 'The body took too long',
            413: 'The body is over 16 KiB',
            415: 'The body is neither JSON nor a form',
            429: 'Too many attempts; see Retry-After',
            503: 'Nobody can sign in now',
          }),
        },
      },
    },
    [`${mount}/auth/logout`]: {
      get: {
        ...base,
        operationId: 'followLogout',
        summary: 'Signs out, and goes to the login page',
        security: [],
        responses: { 302: { description: 'Signed out' }, ...problems({ 403: 'Another site sent this' }) },
      },
      post: {
        ...base,
        operationId: 'logout',
        summary: 'Signs out',
        security: [],
        responses: {
          204: { description: 'Signed out' },
          303: { description: 'Signed out, for a form' },
          ...problems({ 403: 'Another site sent this' }),
        },
      },
    },
    [`${mount}/auth/session`]: {
      get: {
        ...base,
        operationId: 'getSession',
        summary: 'Who is signed in',
        responses: { 200: done('The session', object(session)), ...problems(guarded) },
      },
    },
    [`${mount}/auth/sessions`]: {
      get: {
        ...base,
        operationId: 'listSessions',
        summary: 'The open sessions of a user',
        parameters: [...whose, ...paging],
        responses: { 200: done('The sessions, the last used first', sessionPage), ...problems(ofSomebody) },
      },
      delete: {
        ...base,
        operationId: 'endSessions',
        summary: 'Signs a user out everywhere',
        parameters: whose,
        responses: { 204: { description: 'Done' }, ...problems(ofSomebody) },
      },
    },
    [`${mount}/auth/sessions/{id}`]: {
      delete: {
        ...base,
        operationId: 'endSession',
        summary: 'Ends one session',
        parameters: [{ name: 'id', in: 'path', required: true, schema: text }, ...whose],
        responses: { 204: { description: 'Done' }, ...problems({ ...ofSomebody, 404: 'There is no such session' }) },
      },
    },
  };
}
