import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createConfig, lintFromString } from '@redocly/openapi-core';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import fc from 'fast-check';
import { createAuth } from '../../src/auth/create-auth.js';
import { loginRoutes } from '../../src/auth/login-routes.js';
import { apiTokens } from '../../src/auth/strategies/api-tokens/api-tokens.js';
import { multiUser } from '../../src/auth/strategies/multi-user.js';
import { StrategyRegistry } from '../../src/auth/strategies/registry.js';
import { routesOf } from '../../src/http/routes.js';
import { TaskManager } from '../../src/manager.js';
import { memoryStore } from '../../src/store/memory-store.js';
import { dashboardRoutes } from '../../src/web/dashboard-routes.js';
import { streamRoute } from '../../src/web/stream-route.js';
import { taskRoutes } from '../../src/web/task-routes.js';
import { type AdminApp, serveAdmin } from '../helpers/admin-app.js';
import { postJson } from '../helpers/client.js';
import { cheapHash, password, secretKey } from '../helpers/passwords.js';
import { testProvider } from '../helpers/provider.js';
import { hostile, type Schema, spoiled, valuesOf } from '../helpers/schema-inputs.js';

interface Parameter {
  name: string;
  in: 'path' | 'query';
  required?: boolean;
  schema: Schema;
}
interface Operation {
  operationId: string;
  tags: string[];
  security?: unknown[];
  parameters?: Parameter[];
  requestBody?: { content: Record<string, { schema: Schema }> };
  responses: Record<string, { content?: Record<string, { schema: Schema }> }>;
}
interface Document {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
}

/** The number of cases per route. `CASES=1000` sets another number. */
const cases = Number(process.env.CASES ?? 40);

let app: AdminApp;
let document: Document;
let bearer: { Authorization: string };
let viewer: { Authorization: string };
const signIn = async (username: string, secret: string) => {
  const { json } = await postJson(`${app.base}/auth/login`, { username, password: secret });
  return { Authorization: `Bearer ${(json as { token: string }).token}` };
};

/** Makes a login with all kinds of strategies, so that it has all routes. */
function fullLogin() {
  const tokens = apiTokens();
  const strategies = new StrategyRegistry()
    .register(
      'staff',
      multiUser([
        ['admin', cheapHash(password)],
        ['vera', cheapHash('three'), { roles: ['viewer'] }],
      ]),
    )
    .register('okta', testProvider({ sessionsEnded: () => [{ username: 'ann' }] }))
    .register('tokens', tokens);
  const options = {
    strategies,
    secretKey,
    store: memoryStore(),
    throttle: false,
    logger: false,
  } as const;
  return { auth: createAuth(options), tokens };
}

beforeAll(async () => {
  const { auth, tokens } = fullLogin();
  app = await serveAdmin({ displayFuncArgs: true, auth });
  bearer = await signIn('admin', password);
  viewer = await signIn('vera', 'three');
  for (let n = 0; n < 20; n++) {
    const owner = n % 2 === 0 ? 'staff:admin' : 'staff:vera';
    tokenIds.push((await tokens.create({ name: `token ${n}`, owner })).id);
  }
  document = (await (
    await fetch(`${app.base}/openapi.json`, { headers: bearer })
  ).json()) as Document;
  const rich = app.tasks.task('rich', () => ({ of: 'things' }), { tags: { tenant: '7' } });
  app.tasks.schedule('hourly', rich, { every: 3600 });
  await rich.enqueueMany([[], [], []]);
  await rich.with({ runIn: 3600 }).enqueue();
});
afterAll(async () => {
  await app.close();
});

describe('P/openapi.json', () => {
  it('passes a linter without a warning', async () => {
    const source = JSON.stringify({ ...document, servers: [{ url: 'https://shop.internal' }] });
    // Signing out by a link has only a redirect as its response.
    const config = await createConfig({
      extends: ['recommended'],
      rules: { 'operation-2xx-response': 'off' },
    });
    const problems = await lintFromString({ source, config });
    expect(
      problems.map(({ ruleId, message, location }) => [ruleId, message, location[0]?.pointer]),
    ).toEqual([]);
  });

  it('describes every mounted route and no other', async () => {
    const tasks = new TaskManager({ database: ':memory:', logger: false });
    const { auth: access } = fullLogin();
    const mounted = [
      loginRoutes(access),
      dashboardRoutes(tasks, { access }),
      streamRoute(tasks, { access }),
      taskRoutes(tasks, { access }),
    ].flatMap((middleware) => routesOf(middleware));
    await tasks.stop();
    const served = mounted
      .filter(({ path }) => !/assets|^\/dashboard$/.test(path))
      .map(({ method, path }) => `${method} /tasks${path.replace(/:(\w+)/g, '{$1}')}`);
    const documented = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(documented.sort()).toEqual([...new Set(served)].sort());
  });

  it('contains the paths as clients see them', async () => {
    const mounted = await serveAdmin({ path: '/jobs', auth: null }, { mounted: '/inner' });
    const { paths, servers } = (await (
      await fetch(`${mounted.base}/openapi.json`)
    ).json()) as Document & { servers: { url: string }[] };
    expect(Object.keys(paths)).toContain('/inner/jobs/{id}/retry');
    expect(Object.keys(paths).filter((path) => path.includes('auth'))).toEqual([]);
    expect(servers).toEqual([{ url: mounted.url }]);
    await mounted.close();
  });
});

/** A request that is generated from the document. */
interface Case {
  path: Record<string, unknown>;
  query: Record<string, unknown>;
  body: unknown;
  type: string;
  as: 'admin' | 'viewer' | 'anonymous' | 'forged';
}

const resolve = (ref: string): Schema =>
  document.components.schemas[ref.split('/').at(-1) ?? ''] ?? {};

function casesOf({ parameters = [], requestBody }: Operation): fc.Arbitrary<Case> {
  const values = (where: 'path' | 'query'): fc.Arbitrary<Record<string, unknown>> => {
    const some = parameters.filter((each) => each.in === where);
    const requiredKeys = some.filter(({ required }) => required).map(({ name }) => name);
    const valid = fc.record(
      Object.fromEntries(
        some.map(({ name, schema }) => [
          name,
          where === 'path' ? pathValue() : valuesOf(schema, resolve),
        ]),
      ),
      { requiredKeys } as { requiredKeys: never[] },
    );
    return where === 'path'
      ? valid
      : fc.oneof({ weight: 2, arbitrary: valid }, spoiled(valid) as typeof valid);
  };
  const content = requestBody?.content ?? { 'application/json': undefined };
  const [schema] = Object.values(content).map((each) => each?.schema);
  const body = schema ? valuesOf(schema, resolve) : fc.constant(undefined);
  return fc.record({
    path: values('path'),
    query: values('query'),
    body: fc.oneof(
      { weight: 3, arbitrary: body },
      spoiled(body),
      fc.constantFrom(...hostile),
      fc.constant(undefined),
    ),
    type: fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom(...Object.keys(content)) },
      fc.constantFrom(
        formType,
        'application/json',
        'text/plain',
        'application/xml',
        'x',
        'multipart/form-data',
      ),
    ),
    as: fc.oneof(
      { weight: 5, arbitrary: fc.constant('admin' as const) },
      fc.constantFrom('viewer' as const, 'anonymous' as const, 'forged' as const),
    ),
  });
}

/** Whether a URL can contain a text: it cannot contain half of a surrogate pair. */
const isWellFormed = (text: string): boolean => !/\p{Cs}/u.test(text);

/** Values of a path parameter: existing, unknown and hostile ones. */
function pathValue(): fc.Arbitrary<unknown> {
  const texts = hostile.filter(
    (each): each is string => typeof each === 'string' && isWellFormed(each),
  );
  return fc.oneof(
    fc.nat().map((n) => ids[n % ids.length] ?? ''),
    fc.nat().map((n) => tokenIds[n % tokenIds.length] ?? ''),
    fc.constantFrom('default', 'hourly', 'okta', '01900000-0000-7000-8000-000000000000'),
    fc.constantFrom(...texts.filter((each) => each !== '')),
    fc.string({ minLength: 1 }).filter((each) => isWellFormed(each)),
  );
}
let ids: string[] = [];
const tokenIds: string[] = [];
const formType = 'application/x-www-form-urlencoded';

/** Returns a body as a client sends it. */
function encoded(body: unknown, type: string): string {
  if (type !== formType || typeof body !== 'object' || body === null) return JSON.stringify(body);
  const fields = Object.entries(body).map(([name, value]) => [name, textOf(value)]);
  return new URLSearchParams(Object.fromEntries(fields)).toString();
}

async function send(
  path: string,
  method: string,
  { query, body, type, as, path: inPath }: Case,
): Promise<Response | undefined> {
  const filled = path.replace(/\{(\w+)\}/g, (_all, name: string) =>
    encodeURIComponent(String(inPath[name])),
  );
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    for (const each of Array.isArray(value) ? value : [value]) search.append(name, textOf(each));
  const url = `${app.url}${filled}${search.size > 0 ? `?${search}` : ''}`;
  // A path of dots becomes another path before it is sent. A path with a fixed name is another
  // route.
  if (new URL(url).pathname !== filled || (path.endsWith('{id}') && fixed.has(filled)))
    return undefined;
  const who = {
    admin: bearer,
    viewer,
    anonymous: {},
    forged: { Authorization: 'Bearer eyJhbGciOiJub25lIn0.e30.' },
  }[as];
  const headers: Record<string, string> = {
    ...who,
    ...(body !== undefined && method !== 'get' && { 'Content-Type': type }),
  };
  return fetch(url, {
    method: method.toUpperCase(),
    headers,
    redirect: 'manual',
    ...(body !== undefined && method !== 'get' && { body: encoded(body, type) }),
  });
}

const textOf = (value: unknown): string =>
  typeof value === 'object' ? JSON.stringify(value) : String(value);
let fixed: Set<string>;

describe('every documented route', () => {
  const ajv = new Ajv2020({ strict: false, allErrors: false });
  addFormats.default(ajv);
  const validators = new Map<Schema, ValidateFunction>();
  const validate = (schema: Schema, value: unknown): string => {
    const known =
      validators.get(schema) ?? ajv.compile({ ...schema, components: document.components });
    validators.set(schema, known);
    return known(value) ? '' : ajv.errorsText(known.errors);
  };

  beforeAll(async () => {
    fixed = new Set(Object.keys(document.paths));
    ids = (await app.tasks.find({ limit: 10 })).items.map(({ id }) => id);
  });

  it('accepts exactly the documented types of body', async () => {
    const types = ['application/json', formType, 'text/plain'];
    const wrong: unknown[] = [];
    for (const [path, methods] of Object.entries(document.paths))
      for (const [method, { requestBody }] of Object.entries(methods)) {
        if (!requestBody) continue;
        for (const type of types) {
          const { status } = await fetch(app.url + path.replace(/\{strategy\}/, 'okta'), {
            ...{ method: method.toUpperCase(), body: encoded({ a: 'b' }, type) },
            headers: { ...bearer, 'Content-Type': type },
            redirect: 'manual',
          });
          if ((status === 415) === type in requestBody.content)
            wrong.push([method, path, type, status]);
        }
      }
    expect(wrong).toEqual([]);
  });

  it('answers any input as documented, and never with 5xx', async () => {
    let sent = 0;
    const seen = new Map<number, number>();
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        await fc.assert(
          fc.asyncProperty(casesOf(operation), async (each) => {
            const response = await send(path, method, each);
            if (!response) return;
            sent += 1;
            seen.set(response.status, (seen.get(response.status) ?? 0) + 1);
            const documented = operation.responses[response.status];
            expect([operation.operationId, response.status, documented !== undefined]).toEqual([
              operation.operationId,
              response.status,
              true,
            ]);
            expect(response.status).toBeLessThan(500);
            const isGuarded = operation.security === undefined;
            if (isGuarded && (each.as === 'anonymous' || each.as === 'forged'))
              expect([operation.operationId, response.status]).toEqual([
                operation.operationId,
                // A page leads to the login page.
                operation.responses[401] ? 401 : 302,
              ]);
            const type = response.headers.get('content-type')?.split(';')[0] ?? '';
            if (type === 'text/event-stream') return response.body?.cancel();
            const text = await response.text();
            if (!documented?.content || text === '') return;
            if (!type.endsWith('json') || type === 'application/x-ndjson') return;
            expect(Object.keys(documented.content)).toContain(type);
            const problem = validate(documented.content[type]?.schema ?? {}, JSON.parse(text));
            expect([operation.operationId, response.status, problem, text.slice(0, 200)]).toEqual([
              operation.operationId,
              response.status,
              '',
              text.slice(0, 200),
            ]);
          }),
          { numRuns: cases, interruptAfterTimeLimit: 60_000 },
        );
        // Some routes end the session of their request.
        if (operation.tags.includes('login'))
          [bearer, viewer] = await Promise.all([
            signIn('admin', password),
            signIn('vera', 'three'),
          ]);
      }
    }
    expect(sent).toBeGreaterThan(cases * 30);
    for (const status of [200, 202, 400, 401, 403, 404, 415])
      expect([status, seen.get(status) ?? 0]).not.toEqual([status, 0]);
  }, 240_000);
});
