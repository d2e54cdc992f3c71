import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { EventSource } from 'eventsource';
import { TaskManager } from '../../src/manager.js';
import { startBrowser } from '../helpers/browser.js';
import { type Cutter, cuttable } from '../helpers/cutter.js';
import { temporaryFolder } from '../helpers/folder.js';
import { freePort } from '../helpers/free-port.js';
import { type Child, startScript } from '../helpers/process.js';
import { sleep, waitFor } from '../helpers/wait.js';

/** An event that a client received. */
interface Seen {
  event: string;
  id: string;
  data: string;
}

/** A client that follows a stream and reconnects. */
interface Follower {
  seen(): Promise<Seen[]> | Seen[];
  close(): Promise<void> | void;
}

function followByPackage(url: string): Follower {
  const source = new EventSource(url);
  const seen: Seen[] = [];
  for (const event of ['hello', 'tasks'])
    source.addEventListener(event, ({ lastEventId, data }) =>
      seen.push({ event, id: lastEventId, data: String(data) }),
    );
  return { seen: () => seen, close: () => source.close() };
}

async function followByBrowser(url: string): Promise<Follower> {
  const browser = await startBrowser();
  const page = await browser.newPage();
  await page.goto(url.replace('/stream', ''));
  await page.evaluate((address) => {
    const all: Seen[] = [];
    const source = new window.EventSource(address);
    for (const event of ['hello', 'tasks'])
      source.addEventListener(event, ({ lastEventId, data }) =>
        all.push({ event, id: lastEventId, data: String(data) }),
      );
    Object.assign(window, { all });
  }, url);
  return {
    seen: () => page.evaluate(() => (window as unknown as { all: Seen[] }).all),
    close: () => browser.close(),
  };
}

describe.each<[string, (url: string) => Follower | Promise<Follower>]>([
  ['the package eventsource', followByPackage],
  ["Chromium's EventSource", followByBrowser],
])('%s', (_name, follow) => {
  let folder: ReturnType<typeof temporaryFolder>;
  let tasks: TaskManager;
  let server: Child;
  let cutter: Cutter;
  let port: number;
  let follower: Follower;
  const serveAgain = async (): Promise<void> => {
    server = startScript('stream-server.js', folder.file('tasks.db'), String(port));
    await waitFor(() => server.lines.includes('listening'));
  };
  const kill = async (): Promise<void> => {
    server.process.kill('SIGKILL');
    await server.ended;
  };

  beforeEach(async () => {
    folder = temporaryFolder();
    port = await freePort();
    await serveAgain();
    cutter = await cuttable(port);
    tasks = new TaskManager({ database: folder.file('tasks.db'), logger: false });
  });
  afterEach(async () => {
    await follower?.close();
    await Promise.all([kill(), cutter.close(), tasks.stop()]);
    folder.remove();
  });

  it('gets each event once despite lost connections and killed servers', async () => {
    const note = tasks.define<[n: number]>('note');
    follower = await follow(`http://127.0.0.1:${cutter.port}/tasks/dashboard/stream`);
    await waitFor(async () => (await follower.seen()).length > 0);
    const ids: string[] = [];
    const enqueue = async (amount: number): Promise<void> => {
      for (let n = 0; n < amount; n++) {
        ids.push(await note.enqueue(n));
        await sleep(0.03);
      }
    };
    const restart = async (): Promise<void> => {
      await kill();
      await enqueue(1);
      await serveAgain();
    };
    const connected = async () =>
      (await follower.seen()).filter(({ event }) => event === 'hello').length;
    for (const interrupt of [cutter.cut, restart, cutter.cut]) {
      await enqueue(10);
      const before = await connected();
      await interrupt();
      await enqueue(10);
      await waitFor(async () => (await connected()) > before);
      await enqueue(10);
    }
    const got = async () =>
      (await follower.seen()).flatMap(({ event, data }) =>
        event === 'tasks'
          ? (JSON.parse(data) as { upserts: { id: string }[] }).upserts.map(({ id }) => id)
          : [],
      );
    await waitFor(async () => new Set(await got()).size === ids.length);
    expect((await got()).sort()).toEqual([...ids].sort());
    const seen = await follower.seen();
    const resumed = seen
      .filter(({ event }) => event === 'hello')
      .map(({ data }) => (JSON.parse(data) as { resumed: boolean }).resumed);
    expect(resumed).toEqual([false, true, true, true]);
    const numbers = seen.filter(({ event }) => event === 'tasks').map(({ id }) => Number(id));
    expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
  });
});
