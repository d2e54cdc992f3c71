import { Agent, request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type AdminApp, serveAdmin } from '../helpers/admin-app.js';
import { searchForCanaries } from '../helpers/canaries.js';
import { logIn } from '../helpers/client.js';
import { credentials, nexts, paths, textOf } from './corpus.js';

/** The number of mutations per test. Set `MUTATIONS=25000` for a long run. */
const runs = Number(process.env.MUTATIONS ?? 3000);
const atOnce = 32;

let app: AdminApp;
let token: string;
const agent = new Agent({ keepAlive: true, maxSockets: atOnce });
beforeAll(async () => {
  app = await serveAdmin({ throttle: false, displayFuncArgs: true });
  token = (await logIn(app.base)).cookie.split('=')[1] ?? '';
});
afterAll(async () => {
  agent.destroy();
  await app.close();
});

/**
 * The number of mutations that reached the server. The client of Node does not send headers with
 * control characters.
 */
let answered = 0;

interface Sent {
  method?: string;
  path: string;
  headers?: Record<string, string>;
  body?: string | Buffer;
}

interface Got {
  status: number;
  location: string;
  cookies: readonly string[];
  body: string;
}

/** Resolves to `undefined` if the client of Node refuses to send the request. */
function send({ method = 'GET', path, headers = {}, body }: Sent): Promise<Got | undefined> {
  const { port } = new URL(app.url);
  return new Promise((resolve) => {
    try {
      const asking = request(
        { port, host: '127.0.0.1', agent, method, path, headers },
        (response) => {
          let text = '';
          response.on('data', (chunk) => {
            text += String(chunk);
          });
          response.on('end', () => {
            answered += 1;
            searchForCanaries(text, `a mutated ${method} ${path}`);
            const { location = '', 'set-cookie': cookies = [] } = response.headers;
            resolve({ status: response.statusCode ?? 0, location, cookies, body: text });
          });
        },
      );
      asking.on('error', () => resolve(undefined));
      asking.end(body);
    } catch {
      resolve(undefined);
    }
  });
}

/** Checks `runs` values, several at once. fast-check shrinks a counterexample. */
async function holdFor<T>(
  values: fc.Arbitrary<T>,
  check: (value: T) => Promise<string | undefined>,
): Promise<void> {
  let sent = 0;
  answered = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(values, { minLength: atOnce, maxLength: atOnce, size: 'max' }),
      async (batch) => {
        const faults = await Promise.all(batch.map(check));
        sent += batch.length;
        expect(faults.filter((fault) => fault !== undefined)).toEqual([]);
      },
    ),
    { numRuns: Math.ceil(runs / atOnce) },
  );
  expect(sent).toBeGreaterThanOrEqual(runs);
  expect(answered).toBeGreaterThan(runs * 0.85);
}

/** Makes a sample with one to four random edits. */
function mutated(samples: readonly string[], characters: string): fc.Arbitrary<string> {
  const edit = fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
    kind: fc.constantFrom('insert', 'delete', 'replace', 'double', 'encode', 'cut'),
    with: fc.oneof(fc.constantFrom(...characters), fc.constantFrom(...samples)),
  });
  return fc
    .tuple(fc.constantFrom(...samples), fc.array(edit, { minLength: 1, maxLength: 4 }))
    .map(([sample, edits]) => edits.reduce(applyEdit, sample));
}

function applyEdit(
  text: string,
  { at, kind, with: more }: { at: number; kind: string; with: string },
): string {
  const place = Math.floor(at * (text.length + 1));
  const [before, here, after] = [
    text.slice(0, place),
    text.slice(place, place + 1),
    text.slice(place + 1),
  ];
  switch (kind) {
    case 'insert':
      return before + more + here + after;
    case 'delete':
      return before + after;
    case 'replace':
      return before + more + after;
    case 'double':
      return before + here + here + after;
    case 'encode':
      return before + encodeURIComponent(Buffer.from(here).toString()) + after;
    default:
      return before;
  }
}

describe('mutations', () => {
  it('of tokens open no session and cause no error', async () => {
    const alphabet = 'ABCabc019-_.=+/ %"\\;,';
    const parts = token.split('.');
    const samples = [
      token,
      token,
      token,
      ...parts,
      `${parts[0]}.${parts[1]}`,
      'e30',
      'eyJhbGciOiJub25lIn0',
    ];
    await holdFor(fc.tuple(mutated(samples, alphabet), fc.boolean()), async ([text, asCookie]) => {
      const headers: Record<string, string> = asCookie
        ? { Cookie: `taskflow_token=${text}` }
        : { Authorization: `Bearer ${text}` };
      const got = await send({ path: '/tasks', headers });
      if (!got) return undefined;
      // White space around the value and the text after a semicolon do not belong to the value.
      const same = asCookie
        ? text.split(';')[0]?.trim() === token || text.split(/;\s*taskflow_token=/).includes(token)
        : text.trim() === token;
      return got.status === 401 || (same && got.status === 200)
        ? undefined
        : `${got.status} for ${text.slice(0, 400)}`;
    });
  }, 240_000);

  it('of next never redirect to another origin and cause no error', async () => {
    const samples = [...nexts.refuse, ...nexts.accept].map((each) => Buffer.from(each).toString());
    const session = { Cookie: `taskflow_token=${token}` };
    await holdFor(mutated(samples, '/\\.%:@?#&=\t\n\r 2f5ce0\u00a0\u2028\uff0f'), async (next) => {
      const got = await send({
        path: `/tasks/auth/login?next=${encodeURIComponent(Buffer.from(next).toString())}`,
        headers: session,
      });
      if (!got) return undefined;
      const target = URL.canParse(got.location, 'http://app.example/tasks/auth/login')
        ? new URL(got.location, 'http://app.example/tasks/auth/login')
        : undefined;
      const safe =
        got.status === 302 &&
        got.location.startsWith('/') &&
        target?.origin === 'http://app.example' &&
        target.username === '';
      return safe && !/\/auth\/log(in|out)$/.test(target.pathname)
        ? undefined
        : `${got.status} ${got.location} for ${JSON.stringify(next)}`;
    });
  }, 240_000);

  it('of paths show no protected data and cause no error', async () => {
    const samples = [
      ...paths.guarded,
      ...paths.afterAssetsSlash.map((each) => `/tasks/dashboard/assets/${each}`),
      `/tasks/${app.taskId}`,
      `/tasks/${app.taskId}/retry`,
    ]
      .map((each) => encodeURI(Buffer.from(each).toString()).replaceAll('%25', '%'))
      .filter((each) => each.startsWith('/') || each.startsWith('http'));
    const method = fc.constantFrom('GET', 'GET', 'GET', 'HEAD', 'POST', 'DELETE', 'PUT', 'OPTIONS');
    await holdFor(
      fc.tuple(method, mutated(samples, '/\\.%;?#:@2f5ce0AZ~')),
      async ([verb, path]) => {
        const got = await send({ method: verb, path });
        if (!got) return undefined;
        if (
          got.status >= 500 ||
          /evil/.test(new URL(got.location || '/', 'http://app.example').host)
        )
          return `${got.status} ${got.location} for ${verb} ${path}`;
        if (got.status >= 300 || got.body === '' || got.body === 'elsewhere') return undefined;
        const shown =
          got.body.includes('/auth/login"') ||
          got.body === '{"status":"ok"}' ||
          /^(@|\/\*|"use|const|var|<svg|:root)/.test(got.body.trim());
        return shown && !got.body.includes(app.taskId)
          ? undefined
          : `${got.status} ${got.body.slice(0, 80)} for ${verb} ${path}`;
      },
    );
  }, 240_000);

  it('of bodies open no session and cause no error', async () => {
    const bodies = [
      ...credentials.bodies,
      JSON.stringify({ username: 'admin', password: 'wrong', strategy: 'default', next: '/x' }),
      ...credentials.usernames.map((name) =>
        JSON.stringify({ username: textOf(name), password: 'x' }),
      ),
      'username=admin&password=wrong&next=/x',
      '{"reason":"because"}',
    ];
    const where = fc.constantFrom(
      { path: '/tasks/auth/login', signedIn: false },
      { path: '/tasks/auth/logout', signedIn: false },
      { path: `/tasks/${app.taskId}/retry`, signedIn: true },
      { path: `/tasks/${app.taskId}/cancel`, signedIn: true },
    );
    const type = fc.constantFrom(
      'application/json',
      'application/json',
      'application/x-www-form-urlencoded',
      'application/json; charset=utf-8',
      'text/plain',
    );
    const text = fc.oneof(mutated(bodies, '{}[]":,\\\u0000e19.-\ud800&=%+ '), fc.json());
    await holdFor(fc.tuple(where, type, text), async ([{ path, signedIn }, contentType, body]) => {
      const headers = {
        'Content-Type': contentType,
        'Content-Length': String(Buffer.byteLength(body)),
        ...(signedIn && { Cookie: `taskflow_token=${token}` }),
      };
      const got = await send({ method: 'POST', path, headers, body: Buffer.from(body) });
      if (!got) return undefined;
      const session =
        got.cookies.some((cookie) => /^(__Host-)?taskflow_token=[^;]/.test(cookie)) ||
        got.body.includes('"token"');
      return got.status < 500 && !session
        ? undefined
        : `${got.status} for ${path} ${contentType} ${body.slice(0, 200)}`;
    });
    expect((Object.prototype as { roles?: unknown }).roles).toBeUndefined();
  }, 240_000);
});
