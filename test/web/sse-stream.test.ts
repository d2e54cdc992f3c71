import { AsyncLocalStorage } from 'node:async_hooks';
import { EventEmitter } from 'node:events';
import { connect } from 'node:net';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import Router from '@koa/router';
import Koa, { type Middleware } from 'koa';
import { createAuth } from '../../src/auth/create-auth.js';
import { loginRoutes } from '../../src/auth/login-routes.js';
import { requireAuth } from '../../src/auth/require-auth.js';
import { sessionToken } from '../../src/auth/session-token.js';
import { emitterEvents } from '../../src/web/emitter-events.js';
import type { StreamEvent } from '../../src/web/event.js';
import { type StreamClient, sseStream } from '../../src/web/sse-stream.js';
import { ask, logIn } from '../helpers/client.js';
import { heldTimers } from '../helpers/clock.js';
import { cheapHash, password, secretKey } from '../helpers/passwords.js';
import { seenAlive } from '../helpers/quickest.js';
import { type Served, serve } from '../helpers/serve.js';
import { type OpenStream, openStream } from '../helpers/stream.js';
import { promptly, sleep, waitFor } from '../helpers/wait.js';

let served: Served | undefined;
const use = async (...middlewares: Middleware[]): Promise<string> => {
  const app = new Koa();
  for (const middleware of middlewares) app.use(middleware);
  served = await serve(app);
  return served.url;
};
async function* counting(every = 0.01): AsyncGenerator<StreamEvent> {
  for (let n = 1; ; n++) {
    yield { event: 'count', data: { n }, id: n };
    await sleep(every);
  }
}

describe('sseStream', () => {
  afterEach(async () => {
    jest.restoreAllMocks();
    await served?.close();
  });

  it('streams an iterable to all clients in an app without other middleware', async () => {
    const url = await use(sseStream(counting()));
    const [one, two] = await Promise.all([openStream(url), openStream(url)]);
    await waitFor(() => one.events.length > 3 && two.events.length > 3);
    expect(one.headers.get('Content-Type')).toBe('text/event-stream; charset=utf-8');
    expect(one.headers.get('Cache-Control')).toBe('no-store');
    expect(one.events[0]).toMatchObject({ event: 'count', id: expect.stringMatching(/^\d+$/) });
    expect(
      one
        .of('count')
        .slice(0, 3)
        .map(({ n }) => n),
    ).toEqual([1, 2, 3]);
    one.close();
    two.close();
  });

  it('passes the request to a source function, and aborts its signal', async () => {
    let client: StreamClient | undefined;
    const url = await use(
      sseStream(async function* (own) {
        client = own;
        yield { event: 'hello', data: 'line\nbreak' };
        await new Promise((resolve) => own.signal.addEventListener('abort', resolve));
      }),
    );
    const stream = await openStream(`${url}/?a=1`, { 'Last-Event-ID': '41' });
    await waitFor(() => stream.events.length === 1);
    expect(stream.of('hello')).toEqual(['line\nbreak']);
    expect([client?.lastEventId, client?.query.get('a')]).toEqual(['41', '1']);
    stream.close();
    await waitFor(() => client?.signal.aborted);
  });

  it('streams named events of an emitter, and listens only if a client does', async () => {
    const prices = new EventEmitter();
    const url = await use(sseStream(emitterEvents(prices, ['price', 'trade'])));
    prices.emit('price', 'before the first client');
    const streams = await Promise.all([openStream(url), openStream(url)]);
    await waitFor(() => prices.listenerCount('price') > 0);
    await sleep(0.05);
    prices.emit('price', { cents: 1 });
    prices.emit('secret', { cents: 2 });
    prices.emit('trade');
    for (const stream of streams) {
      await waitFor(() => stream.events.length === 2);
      expect(stream.events.map(({ event, data }) => [event, data])).toEqual([
        ['price', '{"cents":1}'],
        ['trade', 'null'],
      ]);
      stream.close();
    }
    await waitFor(() => prices.listenerCount('price') === 0 && prices.listenerCount('trade') === 0);
    const again = await openStream(url);
    await waitFor(() => prices.listenerCount('price') === 1);
    prices.emit('price', 3);
    await waitFor(() => again.events.length === 1);
    again.close();
    expect(() => emitterEvents({} as never, ['a'])).toThrow(/emitter .* must be an EventEmitter/);
    expect(() => emitterEvents(prices, [])).toThrow(/names .* must be a list/);
  });

  it('runs a shared source in an empty context, but a function in its request', async () => {
    const requests = new AsyncLocalStorage<string>();
    const inRequest: Middleware = (ctx, next) => requests.run(ctx.path, () => next());
    const seen: Record<string, unknown[]> = { iterable: [], emitter: [], own: [] };
    const note = (source: 'iterable' | 'emitter' | 'own'): void =>
      void seen[source]?.push(requests.getStore() ?? 'no request');
    async function* shared(): AsyncGenerator<StreamEvent> {
      for await (const event of counting()) {
        note('iterable');
        yield event;
      }
    }
    const emitter = {
      on: () => note('emitter'),
      off: () => note('emitter'),
    };
    const own = async function* ({ signal }: StreamClient): AsyncGenerator<StreamEvent> {
      note('own');
      yield { event: 'own', data: 1 };
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
    };
    const router = new Router();
    router.get('/iterable', sseStream(shared()));
    router.get('/emitter', sseStream(emitterEvents(emitter, ['a'])));
    router.get('/own', sseStream(own));
    const url = await use(inRequest, router.routes() as unknown as Middleware);
    const streams = await Promise.all(
      ['iterable', 'emitter', 'own'].map((path) => openStream(`${url}/${path}`)),
    );
    await waitFor(
      () =>
        Object.values(seen).every(({ length }) => length > 0) && (seen.iterable?.length ?? 0) > 2,
    );
    for (const stream of streams) stream.close();
    await waitFor(() => seen.emitter?.length === 2);
    expect(new Set(seen.iterable)).toEqual(new Set(['no request']));
    expect(seen.emitter).toEqual(['no request', 'no request']);
    expect(seen.own).toEqual(['/own']);
  });

  it('aborts the signal of a source in the context of its own request', async () => {
    const requests = new AsyncLocalStorage<string>();
    const inRequest: Middleware = (ctx, next) => requests.run(ctx.path, () => next());
    const auth = createAuth({
      strategies: ['admin', cheapHash(password)],
      secretKey,
      logger: false,
    });
    const seen: unknown[] = [];
    const source = async function* ({ signal }: StreamClient): AsyncGenerator<StreamEvent> {
      yield { event: 'begun', data: 1 };
      await new Promise((resolve) =>
        signal.addEventListener('abort', () => resolve(seen.push(requests.getStore()))),
      );
    };
    const router = new Router();
    router.get('/stream', requireAuth('401'), sseStream(source, { access: auth }));
    const url = await use(
      inRequest,
      sessionToken(auth),
      loginRoutes(auth),
      router.routes() as unknown as Middleware,
    );
    const { cookie } = await logIn(`${url}/tasks`);
    const stream = await openStream(`${url}/stream`, { cookie });
    await waitFor(() => stream.of('begun').length === 1);
    await ask(`${url}/tasks/auth/logout`, { method: 'POST', headers: { cookie, origin: url } });
    await stream.ended;
    await waitFor(() => seen.length === 1);
    expect(seen).toEqual(['/stream']);
  });

  it('sends its headers before the first event', async () => {
    const url = await use(
      sseStream(async function* ({ signal }) {
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        yield { event: 'never', data: null };
      }),
    );
    const stream = await openStream(url);
    expect(stream.status).toBe(200);
    stream.close();
  });

  it('ends the stream when the source ends or fails', async () => {
    const url = await use(
      sseStream(
        async function* () {
          yield { event: 'one', data: 1 };
          throw new Error('source');
        },
        { logger: false },
      ),
    );
    const stream = await openStream(url);
    await stream.ended;
    expect(stream.of('one')).toEqual([1]);
  });

  it('ends when its server is closed, so that the server can close', async () => {
    const url = await use(sseStream(counting()));
    const stream = await openStream(url);
    await waitFor(() => stream.events.length > 0);
    const closed = new Promise((resolve) => served?.server.close(resolve));
    const started = performance.now();
    await Promise.all([closed, stream.ended]);
    expect(performance.now() - started).toBeLessThan(promptly * 1000);
  });

  it('removes line breaks from names and ids', async () => {
    const url = await use(
      sseStream(async function* () {
        yield { event: 'a\nevent: evil', data: 1, id: '1\n\ndata: 2' };
      }),
    );
    const stream = await openStream(url);
    await stream.ended;
    expect(stream.events).toEqual([{ event: 'a event: evil', data: '1', id: '1  data: 2' }]);
  });

  it('rejects requests for other types, and sends pings while it is idle', async () => {
    const idle: Middleware = sseStream(async function* ({ signal }) {
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      yield* [];
    });
    const url = await use(idle);
    const refused = await ask(url, { headers: { Accept: 'application/json' } });
    expect([refused.status, (refused.json as { code: string }).code]).toEqual([
      406,
      'NOT_ACCEPTABLE',
    ]);
    const pings = heldTimers('setInterval', 15_000);
    const response = await fetch(url, { headers: { Accept: 'text/event-stream' } });
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    expect((await reader?.read())?.value).toMatch(/^retry: [12]\d{3}\n\n$/);
    pings[0]?.();
    expect((await reader?.read())?.value).toBe(': ping\n\n');
    await reader?.cancel();
  });

  it('answers HEAD with headers only', async () => {
    expect((await ask(await use(sseStream(counting())), { method: 'HEAD' })).status).toBe(200);
  });

  it('rejects streams over the limit, with Retry-After', async () => {
    const url = await use(sseStream(counting(), { streams: { perUser: 2 } }));
    const streams = [await openStream(url), await openStream(url)];
    const answer = await ask(url);
    expect([
      answer.status,
      (answer.json as { code: string }).code,
      answer.headers.get('Retry-After'),
    ]).toEqual([503, 'TOO_MANY_STREAMS', '10']);
    streams[0]?.close();
    const third = await waitFor(async () => {
      const next = await openStream(url);
      return next.status === 200 && next;
    });
    third.close();
    streams[1]?.close();
  });

  it('takes no more events from a source if the client does not read', async () => {
    let taken = 0;
    const chunk = 'x'.repeat(100_000);
    const url = await use(
      sseStream(async function* () {
        for (;;) {
          taken += 1;
          yield { event: 'big', data: chunk };
        }
      }),
    );
    const { port } = new URL(url);
    const socket = connect(Number(port), '127.0.0.1', () =>
      socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'),
    );
    socket.pause();
    await sleep(0.5);
    const stalled = taken;
    await sleep(0.3);
    expect(taken).toBe(stalled);
    expect(taken).toBeLessThan(200);
    socket.destroy();
  });

  it('sends an event of several megabytes whole, including surrogate pairs', async () => {
    // The second text is shifted by one character, so a chunk of one of them ends within a pair.
    const texts = ['', 'a'].map((first) => first + '💥'.repeat(1_500_000));
    const url = await use(
      sseStream(async function* ({ signal }) {
        for (const data of texts) yield { event: 'big', data };
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
      }),
    );
    const stream = await openStream(url);
    await waitFor(() => stream.events.length === 2);
    expect(
      stream.events.map(
        ({ data }) => JSON.parse(data) === texts[0] || JSON.parse(data) === texts[1],
      ),
    ).toEqual([true, true]);
    stream.close();
  });

  it('reports no error to the app if a client resets the connection', async () => {
    const app = new Koa();
    const errors: unknown[] = [];
    app.on('error', (error) => errors.push(error));
    let gone = false;
    app.use(
      sseStream(async function* ({ signal }) {
        yield { event: 'hello', data: 1 };
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        gone = true;
      }),
    );
    served = await serve(app);
    const socket = connect(Number(new URL(served.url).port), '127.0.0.1', () =>
      socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'),
    );
    await new Promise((resolve) => socket.once('data', resolve));
    socket.resetAndDestroy();
    await waitFor(() => gone);
    await sleep(0.05);
    expect(errors).toEqual([]);
  });

  it('rejects an invalid source or option', () => {
    expect(() => sseStream([] as never)).toThrow(/source/);
    expect(() => sseStream(counting(), { streams: { perUser: 0 } })).toThrow(/perUser/);
    expect(() => sseStream(counting(), { acces: 1 } as object)).toThrow(/no option "acces"/);
  });

  it('disconnects a client that reads nothing for 30 seconds', async () => {
    const url = await use(
      sseStream(async function* () {
        for (;;) yield { event: 'big', data: 'x'.repeat(1_000_000) };
      }),
    );
    const timers = heldTimers('setTimeout', 30_000);
    const socket = connect(Number(new URL(url).port), '127.0.0.1', () =>
      socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'),
    );
    socket.on('error', () => {});
    socket.pause();
    const open = () =>
      new Promise<number>((resolve) => served?.server.getConnections((_error, n) => resolve(n)));
    await waitFor(async () => (await open()) === 1 && timers.length > 0);
    await sleep(0.3);
    expect(await open()).toBe(1);
    for (const end of timers.splice(0)) end();
    await waitFor(async () => (await open()) === 0);
    socket.destroy();
  });
});

describe('sseStream with a login', () => {
  afterEach(() => served?.close());

  const guarded = async (
    options: { tokenExpiry?: number } = {},
    guard: Middleware[] = [requireAuth('401')],
  ): Promise<string> => {
    const auth = createAuth({
      strategies: ['admin', cheapHash(password)],
      secretKey,
      logger: false,
      ...options,
    });
    const router = new Router();
    router.get('/stream', ...(guard as never[]), sseStream(counting(), { access: auth }) as never);
    return use(sessionToken(auth), loginRoutes(auth), router.routes() as unknown as Middleware);
  };

  it('rejects anonymous requests, with or without requireAuth', async () => {
    for (const guard of [[requireAuth('401')], []]) {
      const url = await guarded({}, guard);
      const answer = await ask(`${url}/stream`);
      expect([answer.status, (answer.json as { code: string }).code]).toEqual([
        401,
        'UNAUTHENTICATED',
      ]);
      await served?.close();
    }
  });

  it('ends with a last event soon after the session is revoked', async () => {
    const url = await guarded();
    const session = await logIn(`${url}/tasks`);
    const stream = await openStream(`${url}/stream`, { Cookie: session.cookie });
    await waitFor(() => stream.events.length > 0);
    const started = Date.now();
    await ask(`${url}/tasks/auth/logout`, { method: 'POST', headers: session });
    await stream.ended;
    expect(Date.now() - started).toBeLessThan(promptly * 1000);
    expect(stream.events.at(-1)).toMatchObject({ event: 'session', data: '{"reason":"revoked"}' });
    expect((await ask(`${url}/stream`, { headers: session })).status).toBe(401);
  });

  it('ends with a last event when the session expires', async () => {
    let stream: OpenStream | undefined;
    await seenAlive(async (tokenExpiry) => {
      await served?.close();
      const url = await guarded({ tokenExpiry });
      const session = await logIn(`${url}/tasks`);
      stream = await openStream(`${url}/stream`, { Cookie: session.cookie });
      return stream.status === 200;
    });
    await stream?.ended;
    expect(stream?.events.at(-1)).toMatchObject({ event: 'session', data: '{"reason":"expired"}' });
  });
});
