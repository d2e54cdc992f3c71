import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import {
  type ClientHttp2Session,
  connect,
  constants,
  createSecureServer,
  type Http2SecureServer,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import Koa, { type Middleware } from 'koa';
import compress from 'koa-compress';
import mount from 'koa-mount';
import { taskAdmin } from '../../src/admin.js';
import { TaskManager } from '../../src/manager.js';
import { ask } from '../helpers/client.js';
import { temporaryFolder } from '../helpers/folder.js';
import { freePort } from '../helpers/free-port.js';
import { startNginx } from '../helpers/nginx.js';
import { itNeeds, programPath } from '../helpers/program.js';
import { type Served, serve } from '../helpers/serve.js';
import { openStream } from '../helpers/stream.js';
import { promptly, waitFor } from '../helpers/wait.js';

describe('the live stream', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let tasks: TaskManager;
  let served: Served | undefined;
  const ended: (() => Promise<void> | void)[] = [];
  const app = (...before: Middleware[]): Koa => {
    const made = new Koa();
    made.silent = true;
    for (const middleware of before) made.use(middleware);
    return made;
  };
  const admin = (): Middleware => taskAdmin(tasks, { logger: false });

  beforeEach(() => {
    folder = temporaryFolder();
    tasks = new TaskManager({ database: ':memory:', logger: false });
  });
  afterEach(async () => {
    for (const end of ended.splice(0)) await end();
    await Promise.all([served?.close(), tasks.stop()]);
    folder.remove();
  });

  /** Expects the first event and the event of a new task to arrive promptly. */
  const expectQuick = async (url: string): Promise<void> => {
    const stream = await openStream(`${url}/dashboard/stream`);
    ended.push(() => stream.close());
    await waitFor(() => stream.of('hello').length === 1, promptly);
    await tasks.define(`noop${performance.now()}`).enqueue();
    await waitFor(() => stream.of('tasks').length > 0, promptly);
  };

  itNeeds('nginx')('arrives at once through nginx with its default settings', async () => {
    served = await serve(app(admin()));
    const port = await freePort();
    const location = `location / { proxy_pass ${served.url}; }`;
    const nginx = await startNginx(`server { listen 127.0.0.1:${port}; ${location} }`);
    ended.push(() => nginx.close());
    const url = `http://127.0.0.1:${port}/tasks`;
    await waitFor(async () => (await fetch(`${url}/health`).catch(() => undefined))?.ok);
    await expectQuick(url);
    expect((await ask(`${url}?limit=1`)).json).toMatchObject({ total: 1 });
  });

  it('arrives at once behind a middleware that compresses everything', async () => {
    served = await serve(app(compress({ threshold: 0, filter: () => true }), admin()));
    await expectQuick(`${served.url}/tasks`);
    // A list is compressed, so the middleware works.
    const list = await fetch(`${served.url}/tasks`, { headers: { 'Accept-Encoding': 'gzip' } });
    expect([list.headers.get('content-encoding'), (await list.json()) as object]).toMatchObject([
      'gzip',
      { total: 1 },
    ]);
  });

  it('arrives at once under koa-mount', async () => {
    served = await serve(app(mount('/inner', admin())));
    await expectQuick(`${served.url}/inner/tasks`);
  });

  describe('over HTTP/2', () => {
    let server: Http2SecureServer;
    let session: ClientHttp2Session;
    let url: string;

    beforeEach(async () => {
      const [key, cert] = [folder.file('key.pem'), folder.file('cert.pem')];
      const request = [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-days',
        '2',
        '-subj',
        '/CN=localhost',
      ];
      const { status } = spawnSync(
        programPath('openssl') ?? 'openssl',
        [...request, '-keyout', key, '-out', cert],
        { stdio: 'ignore' },
      );
      if (status !== 0) return;
      server = createSecureServer(
        { key: readFileSync(key), cert: readFileSync(cert) },
        app(admin()).callback(),
      );
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
      session = connect(url, { rejectUnauthorized: false });
      ended.push(async () => {
        session.destroy();
        await new Promise((resolve) => server.close(resolve));
      });
    });

    /** Opens a stream of the session and collects its text. */
    const open = (): { text: () => string } => {
      const stream = session.request({ [constants.HTTP2_HEADER_PATH]: '/tasks/dashboard/stream' });
      let text = '';
      stream.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      stream.on('error', () => {});
      return { text: () => text };
    };
    const send = async (
      method: string,
      path: string,
      body?: string,
    ): Promise<{ status: number; json: unknown }> => {
      const headers = {
        ':method': method,
        ':path': path,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      };
      const stream = session.request(headers, { endStream: body === undefined });
      if (body !== undefined) stream.end(body);
      const status = new Promise<number>((resolve) =>
        stream.once('response', (answer) => resolve(Number(answer[':status']))),
      );
      let text = '';
      for await (const chunk of stream.setEncoding('utf8')) text += chunk as string;
      return { status: await status, json: JSON.parse(text) as unknown };
    };

    itNeeds('openssl')(
      'arrives fifty times over one connection, which stays open afterwards',
      async () => {
        const streams = Array.from({ length: 50 }, open);
        await waitFor(() => streams.every(({ text }) => text().includes('event: hello')));
        const id = await tasks.define('noop').enqueue();
        await waitFor(() => streams.every(({ text }) => text().includes(id)), promptly);
        expect(session.destroyed).toBe(false);
        expect((await send('GET', '/tasks?limit=1')).json).toMatchObject({ total: 1 });
        await tasks.stop();
        expect((await send('GET', '/tasks/health')).status).toBe(503);
      },
    );

    itNeeds('openssl')(
      'does not disturb other routes, with bodies of unknown length and rejected ones',
      async () => {
        const id = await tasks.define<[n: number]>('noop').with({ runIn: 60 }).enqueue(1);
        expect(await send('POST', `/tasks/${id}/cancel`, '{"reason":"not needed"}')).toMatchObject({
          status: 202,
          json: { status: 'cancelled' },
        });
        expect(await send('POST', `/tasks/${id}/rerun`, '{"args":[2]}')).toMatchObject({
          status: 201,
        });
        expect(await send('POST', `/tasks/${id}/retry`)).toMatchObject({ status: 202 });
        expect(await send('POST', '/tasks/bulk', '{"action":"burn"}')).toMatchObject({
          status: 400,
          json: { code: 'INVALID_INPUT' },
        });
        expect(await send('POST', `/tasks/${id}/cancel`, 'x'.repeat(200_000))).toMatchObject({
          status: 413,
        });
        expect(await send('GET', '/tasks?limit=1')).toMatchObject({ status: 200 });
      },
    );
  });
});
