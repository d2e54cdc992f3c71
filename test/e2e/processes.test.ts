import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import Koa from 'koa';
import { TaskManager } from '../../src/manager.js';
import type { TaskStatus } from '../../src/tasks/types.js';
import { sseStream } from '../../src/web/sse-stream.js';
import { taskEvents } from '../../src/web/task-events.js';
import { openBeside } from '../helpers/beside.js';
import { temporaryFolder } from '../helpers/folder.js';
import { type Child, startScript } from '../helpers/process.js';
import { serve } from '../helpers/serve.js';
import { openStream } from '../helpers/stream.js';
import { expectSums } from '../helpers/sums.js';
import { promptly, sleep, waitFor } from '../helpers/wait.js';

const by = { actor: 'test' };

describe('a group of processes on one file', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let database: string;
  let children: Child[];
  let tasks: TaskManager;

  const worker = async (mode = 'run', amount = 0): Promise<Child> => {
    const child = startScript('worker.js', database, mode, String(amount));
    children.push(child);
    await waitFor(() => child.lines.includes('started'));
    return child;
  };
  const kill = async (child: Child): Promise<void> => {
    child.process.kill('SIGKILL');
    await child.ended;
  };
  const inState = (id: string, status: TaskStatus, seconds?: number) =>
    waitFor(async () => (await tasks.get(id))?.status === status, seconds);

  beforeEach(() => {
    folder = temporaryFolder();
    database = folder.file('tasks.db');
    children = [];
    tasks = new TaskManager({ database, logger: false });
  });
  afterEach(async () => {
    await Promise.all(children.map(kill));
    await tasks.stop({ timeout: 0 });
    folder.remove();
  });

  it('loses no task if a process is killed during 1,000 enqueues', async () => {
    const victim = await worker('run', 1000);
    await waitFor(() => victim.lines.length > 300);
    await kill(victim);
    const ids = victim.lines.filter((line) => /^[0-9a-f]{8}-/.test(line));
    expect(ids.length).toBeGreaterThan(250);
    expect(ids.length).toBeLessThan(1000);
    await worker('run');
    await waitFor(
      async () => (await tasks.find({ limit: 1, status: ['pending', 'running'] })).total === 0,
    );
    const states = await Promise.all(ids.map(async (id) => (await tasks.get(id))?.status));
    expect(states.filter((status) => status !== 'success' && status !== 'interrupted')).toEqual([]);
    const { counts } = await tasks.aggregate('metrics', {});
    expect(counts.success + counts.interrupted).toBe((await tasks.find({ limit: 1 })).total);
    expect(counts.interrupted).toBeLessThanOrEqual(20);
    const file = await openBeside(database);
    expect(file.get('PRAGMA integrity_check')).toEqual({ integrity_check: 'ok' });
    expectSums(file);
    file.close();
  });

  it('lists running processes with their tasks, and drops a killed process', async () => {
    const victim = await worker();
    const other = await worker();
    const pids = async () => (await tasks.aggregate('workers')).map(({ pid }) => pid);
    await waitFor(async () => (await pids()).length === 2);
    expect((await pids()).sort()).toEqual([victim.process.pid, other.process.pid].sort());
    await tasks.define<[ms: number]>('once').enqueue(3000);
    await waitFor(async () =>
      (await tasks.aggregate('workers')).some(
        ({ running, slots }) => running === 1 && slots === 20,
      ),
    );
    await kill(victim);
    await waitFor(async () => (await pids()).length === 1, 20);
    expect(await pids()).toEqual([other.process.pid]);
  });

  it('marks tasks of a killed process as interrupted, or runs them again if allowed', async () => {
    const once = tasks.define<[ms: number]>('once');
    const again = tasks.define<[ms: number]>('again', {
      requeueOnInterrupt: true,
      maxInterrupts: 2,
    });
    const victim = await worker();
    const lost = await once.enqueue(60_000);
    const kept = await again.enqueue(60_000);
    await Promise.all([inState(lost, 'running'), inState(kept, 'running')]);
    await kill(victim);
    await worker();
    await inState(lost, 'interrupted');
    expect(await tasks.get(lost)).toMatchObject({
      attempt: 1,
      attempts: [{ status: 'interrupted' }],
      error: { name: 'Interrupted' },
    });
    await waitFor(async () => (await tasks.get(kept))?.attempt === 2);
    expect(await tasks.get(kept)).toMatchObject({
      status: 'running',
      attempts: [
        { number: 1, status: 'interrupted' },
        { number: 2, status: 'running' },
      ],
    });
  });

  it('stops retrying a task that kills each of its processes', async () => {
    const deadly = tasks.define('deadly', { requeueOnInterrupt: true, maxInterrupts: 2 });
    const id = await deadly.enqueue();
    for (let run = 0; run < 3; run++) {
      const victim = startScript('worker.js', database);
      children.push(victim);
      expect(await victim.ended).toBe('SIGKILL');
    }
    await worker();
    await inState(id, 'interrupted');
    expect((await tasks.get(id))?.attempts).toHaveLength(3);
  });

  it('keeps the tasks of a process with a blocked event loop or a SIGSTOP', async () => {
    const busy = tasks.define<[ms: number]>('busy');
    const once = tasks.define<[ms: number]>('once');
    const victim = await worker();
    const id = await busy.enqueue(10_000);
    await inState(id, 'running');
    await tasks.start({ run: false });
    await sleep(9);
    expect((await tasks.get(id))?.status).toBe('running');
    await inState(id, 'success');
    const other = await once.enqueue(500);
    await inState(other, 'running');
    victim.process.kill('SIGSTOP');
    await sleep(2);
    expect((await tasks.get(other))?.status).toBe('running');
    victim.process.kill('SIGCONT');
    await inState(other, 'success');
  });

  it('shows, runs and cancels tasks across processes', async () => {
    const obedient = tasks.define('obedient');
    await tasks.start({ run: false });
    await worker();
    const controller = new AbortController();
    const { rev } = await tasks.describe();
    const seen: string[] = [];
    const watching = (async () => {
      for await (const { upserts } of tasks.watch(rev, controller.signal))
        seen.push(...upserts.map(({ status, engineState }) => engineState ?? status));
    })();
    const id = await obedient.enqueue();
    await waitFor(() => seen.includes('running'));
    await tasks.control({ action: 'cancel', ids: [id] }, by);
    await inState(id, 'cancelled');
    await waitFor(() => seen.includes('cancelled'));
    controller.abort();
    await watching;
  });

  it('shows changes of other processes promptly, and resumes their streams', async () => {
    await worker();
    const quick = tasks.define<[n: number]>('quick');
    const other = new TaskManager({ database, logger: false });
    const [first, second] = await Promise.all(
      [tasks, other].map((each) => {
        const app = new Koa();
        app.use(sseStream(taskEvents(each)));
        return serve(app);
      }),
    );
    const before = await openStream(first?.url ?? '');
    const { id: seen = '' } = await waitFor(() => before.events[0]);
    const enqueued = performance.now();
    const shown = await other.define<[n: number]>('quick').enqueue(1);
    await waitFor(() =>
      before
        .of<{ upserts: { id: string }[] }>('tasks')
        .some(({ upserts }) => upserts.some(({ id }) => id === shown)),
    );
    expect(performance.now() - enqueued).toBeLessThan(promptly * 1000);
    before.close();
    const missed = await quick.enqueue(2);
    await inState(missed, 'success');
    const after = await openStream(second?.url ?? '', { 'Last-Event-ID': seen });
    await waitFor(() => after.of('tasks').length > 0);
    expect(after.of('hello')[0]).toMatchObject({ resumed: true });
    const rows = after
      .of<{ upserts: { id: string; status: string }[] }>('tasks')
      .flatMap(({ upserts }) => upserts);
    expect(rows.find(({ id }) => id === missed)).toMatchObject({ status: 'success' });
    after.close();
    await Promise.all([first?.close(), second?.close(), other.stop()]);
  });

  it('starts each of a hundred tasks once', async () => {
    await Promise.all([worker(), worker()]);
    const quick = tasks.define<[n: number]>('quick');
    const ids = await quick.enqueueMany(Array.from({ length: 100 }, (_, n) => [n]));
    await waitFor(async () => (await tasks.find({ limit: 1, status: ['success'] })).total === 100);
    const attempts = await Promise.all(ids.map(async (id) => (await tasks.get(id))?.attempt));
    expect(new Set(attempts)).toEqual(new Set([1]));
  });
});
