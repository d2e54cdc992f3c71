import { afterEach, describe, expect, it } from '@jest/globals';
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { TaskManager } from '../../../../src/manager.js';
import { taskContext, taskLog } from '../../../../src/tasks/context.js';
import { cuttable } from '../../../helpers/cutter.js';
import { inState, said, useJobProcesses } from '../../../helpers/job-processes.js';
import { recordingLogger } from '../../../helpers/logs.js';
import { startProcess } from '../../../helpers/process.js';
import { hasRedis } from '../../../helpers/redis.js';
import { eventually, gate, sleep, waitFor } from '../../../helpers/wait.js';

const processes = useJobProcesses();
const requeue = { requeueOnInterrupt: true, maxInterrupts: 20 };

(hasRedis ? describe : describe.skip)('the Redis engine during an outage', () => {
  afterEach(() => {
    for (const child of processes.children) expect(said(child, 'unhandled')).toEqual([]);
  });

  for (const [how, [away, back]] of Object.entries({
    'is restarted': [() => processes.redis.stop(), () => processes.redis.start()],
    hangs: [
      async () => processes.redis.signal('SIGSTOP'),
      async () => processes.redis.signal('SIGCONT'),
    ],
  } as const)) {
    it(`stores the result of a task that runs while Redis ${how}`, async () => {
      const tasks = processes.manager();
      const workers = [await processes.worker(), await processes.worker()];
      await tasks.start({ run: false });
      const once = tasks.define<[number]>('once');
      const ids = await Promise.all([200, 1500, 4500].map((ms) => once.enqueue(ms)));
      await waitFor(() => workers.flatMap((each) => said(each, 'began')).length === 3);
      await away();
      // This is longer than a lock lasts.
      await sleep(2.5);
      await back();
      for (const id of ids) await inState(tasks, id, 'success');
      expect(workers.flatMap((each) => said(each, 'began')).sort()).toEqual([...ids].sort());
    });
  }

  it('stores the end of an attempt once if the connection breaks before the answer', async () => {
    const line = await cuttable(processes.redis.port);
    const { logger, text } = recordingLogger();
    const tasks = processes.manager(logger, 'jobs', line.port);
    const notified: string[] = [];
    for (const status of ['success', 'failed', 'pending'] as const)
      tasks.on(status, ({ name }) => notified.push(`${name} ${status}`));
    const { passed, open } = gate();
    const good = tasks.task('good', () => passed);
    const bad = tasks.task('bad', () => passed.then(() => Promise.reject(new Error('broken'))));
    const retried = tasks.task(
      'retried',
      () => passed.then(() => Promise.reject(new Error('broken'))),
      { retries: 1, backoff: () => 60 },
    );
    await tasks.start();
    const ids = await Promise.all([good.enqueue(), bad.enqueue(), retried.enqueue()]);
    for (const id of ids) await inState(tasks, id, 'running');
    notified.length = 0;
    line.loseAnswers();
    open();
    await sleep(0.3);
    line.cut();
    for (const [n, status] of (['success', 'failed', 'pending'] as const).entries())
      await inState(tasks, ids[n] ?? '', status);
    await eventually(async () =>
      expect(notified.sort()).toEqual(['bad failed', 'good success', 'retried pending']),
    );
    expect(text()).not.toContain('dropped');
    expect((await tasks.get(ids[2] ?? ''))?.attempts).toHaveLength(1);
    await tasks.stop({ timeout: 1 });
    await line.close();
  });

  it('stores log lines once if the connection breaks before the answer', async () => {
    const line = await cuttable(processes.redis.port);
    const tasks = processes.manager(undefined, 'jobs', line.port);
    const [written, done] = [gate(), gate()];
    const chatty = tasks.task('chatty', async () => {
      await written.passed;
      for (let n = 0; n < 250; n++) taskLog(`line ${n}`);
      await done.passed;
      taskLog('last line');
    });
    await tasks.start();
    const id = await chatty.enqueue();
    await inState(tasks, id, 'running');
    line.loseAnswers();
    written.open();
    await sleep(0.3);
    line.cut();
    done.open();
    await inState(tasks, id, 'success');
    const lines = (await tasks.logs(id, {})).map(({ message }) => message);
    expect(lines).toEqual([...Array.from({ length: 250 }, (_, n) => `line ${n}`), 'last line']);
    await tasks.stop({ timeout: 1 });
    await line.close();
  });

  it('logs one line when the outage begins and one when it ends', async () => {
    const worker = await processes.worker();
    const web = await processes.worker({ run: false });
    const tasks = processes.manager();
    await tasks.start({ run: false });
    const id = await tasks.define('chatty').enqueue(3000);
    await waitFor(() => said(worker, 'began').length === 1);
    await processes.redis.stop();
    // Redis is back between two attempts to connect, so that both processes succeed with the same
    // attempt. The pause before the next attempt is longer than a lock.
    await sleep(2.3);
    await processes.redis.start();
    await inState(tasks, id, 'success');
    for (const child of [worker, web]) {
      await eventually(async () => {
        const lines = said(child, 'log').filter((line) => !line.startsWith('info task'));
        expect(lines.map((line) => line.split(' {')[0])).toEqual([
          'error Redis is unreachable',
          'info Redis is reachable again',
        ]);
      });
    }
  });

  it('lets a process start, and runs its tasks once Redis is reachable', async () => {
    await processes.redis.stop();
    const { logger, lines } = recordingLogger();
    const tasks = processes.manager(logger);
    let ran = 0;
    const noop = tasks.task('noop', () => {
      ran += 1;
    });
    await tasks.start();
    await expect(noop.enqueue()).rejects.toThrow(
      expect.objectContaining({ code: 'ENGINE_UNAVAILABLE' }),
    );
    await processes.redis.start();
    const id = await waitFor(() => noop.enqueue().catch(() => undefined), 20);
    await inState(tasks, id, 'success');
    expect(ran).toBe(1);
    expect(lines.filter(({ level }) => Number(level) >= 50)).toHaveLength(1);
  });

  it('runs tasks although connections break while they are opened', async () => {
    const line = await cuttable(processes.redis.port);
    const tasks = processes.manager(undefined, 'jobs', line.port);
    const noop = tasks.task('noop', () => 1);
    const id = await noop.enqueue();
    await tasks.start();
    line.loseAnswers();
    await sleep(0.2);
    line.cut();
    await inState(tasks, id, 'success');
    await tasks.stop({ timeout: 1 });
    await line.close();
  });

  it('runs each task once although answers to fetches are lost', async () => {
    const line = await cuttable(processes.redis.port);
    const tasks = processes.manager(undefined, 'jobs', line.port);
    const began: number[] = [];
    const work = tasks.task('work', async (n: number) => {
      began.push(n);
      await sleep(0.01);
    });
    await tasks.start();
    const numbers = Array.from({ length: 200 }, (_, n) => n);
    const ids = await work.enqueueMany(numbers.map((n) => [n] as [number]));
    await waitFor(() => began.length > 20);
    line.loseAnswers();
    await sleep(0.3);
    line.cut();
    for (const id of ids) await inState(tasks, id, 'success');
    expect(began.sort((a, b) => a - b)).toEqual(numbers);
    await tasks.stop({ timeout: 1 });
    await line.close();
  });

  it('keeps the start of the last attempt if the fetch of a retry fails', async () => {
    const line = await cuttable(processes.redis.port);
    const [reading, engine] = [processes.manager(), processes.engine(false, 'jobs', line.port)];
    const tasks = new TaskManager({ engine, logger: false, concurrency: 1 });
    const { passed, open } = gate();
    const flaky = tasks.task('flaky', () => Promise.reject(new Error('once')), {
      retries: 1,
      delay: 0.5,
      jitter: 0,
    });
    const blocker = tasks.task('blocker', () => passed);
    await tasks.start();
    const id = await flaky.enqueue();
    const { attempts: before } = await waitFor(async () => {
      const task = await reading.get(id);
      return task?.status === 'pending' && task.attempts.length === 1 && task.attempts[0]?.endedAt
        ? task
        : undefined;
    });
    await inState(reading, await blocker.enqueue(), 'running');
    await sleep(0.6);
    // Redis starts the retry together with the end of the other task.
    line.loseAnswers();
    open();
    await inState(reading, id, 'running');
    await reading.control({ action: 'pause', queue: 'default' }, { actor: 'test' });
    line.cut();
    const after = await inState(reading, id, 'pending');
    expect(after).toMatchObject({ attempt: 1, startedAt: before[0]?.startedAt, attempts: before });
    await tasks.stop({ timeout: 1 });
    await line.close();
  });

  it('stops within seconds, with or without a running task', async () => {
    const [idle, busy] = [await processes.worker(), await processes.worker({ prefix: 'others' })];
    const tasks = processes.manager(undefined, 'others');
    await tasks.start({ run: false });
    await tasks.define('once').enqueue(60_000);
    await waitFor(() => said(busy, 'began').length === 1);
    await processes.redis.stop();
    await sleep(0.3);
    const begun = performance.now();
    for (const child of [idle, busy]) child.process.kill('SIGTERM');
    await idle.ended;
    const idleTook = performance.now() - begun;
    await busy.ended;
    expect([idle.lines.at(-1), busy.lines.at(-1)]).toEqual(['stopped', 'stopped']);
    // The timeout is one second.
    expect(idleTook).toBeLessThan(5000);
    expect(performance.now() - begun).toBeLessThan(10_000);
  });

  it('logs which end is not stored when it stops, and lets the process exit', async () => {
    const script = `
      import { TaskManager } from 'koa-taskflow';
      import { bullmqEngine } from 'koa-taskflow/bullmq';
      let lose;
      const lost = new Promise((resolve) => { lose = resolve; });
      const say = (fields, message) => {
        if (message === 'Redis is unreachable') lose();
        console.log(message);
      };
      const logger = { debug() {}, info() {}, warn: say, error: say };
      const connection = ${JSON.stringify(processes.redis.connection)};
      const engine = bullmqEngine({ connection, logger });
      const tasks = new TaskManager({ engine, logger });
      tasks.schedule('often', () => 1, { every: 3600 });
      const work = tasks.task('work', async () => {
        console.log('began');
        await lost;
      });
      await tasks.start();
      await work.enqueue();
      await lost;
      const begun = performance.now();
      await tasks.stop({ timeout: 0.3 });
      const stopped = performance.now();
      process.on('exit', () => {
        console.log(JSON.stringify([stopped - begun, performance.now() - stopped]));
      });
    `;
    const child = startProcess(process.execPath, ['--input-type=module', '--eval', script]);
    processes.children.push(child);
    await waitFor(() => child.lines.includes('began'));
    await processes.redis.stop('SIGKILL');
    expect(await child.ended).toBe(0);
    const [stopTook = 0, endTook = 0] = JSON.parse(child.lines.pop() ?? '[]') as number[];
    expect(child.lines).toEqual([
      'began',
      'Redis is unreachable',
      expect.stringMatching(/^the end of a task was not stored/),
    ]);
    expect(stopTook).toBeLessThan(5000);
    expect(endTook).toBeLessThan(5000);
  });
});

(hasRedis ? describe : describe.skip)('a worker that does not renew its locks in time', () => {
  it('drops the result of a task that another process has ended', async () => {
    const tasks = processes.manager();
    const worker = await processes.worker();
    await tasks.start({ run: false });
    const [once, again] = await Promise.all([
      tasks.define('once').enqueue(60_000),
      tasks.define('again', requeue).enqueue(60_000),
    ]);
    await waitFor(() => said(worker, 'began').length === 2);
    worker.process.kill('SIGSTOP');
    await inState(tasks, once, 'interrupted');
    const next = await processes.worker();
    await waitFor(() => said(next, 'began').length === 1);
    worker.process.kill('SIGCONT');
    await waitFor(() => said(worker, 'did').length === 2);
    const dropped = (): string[] =>
      said(worker, 'log').filter((line) =>
        line.includes('was dropped, because another process took over'),
      );
    await eventually(async () => expect(dropped()).toHaveLength(2));
    for (const [id, name] of [
      [once, 'once'],
      [again, 'again'],
    ] as const)
      expect(
        dropped().some((line) => line.includes(`"taskId":"${id}","task":"${name}","attempt":1`)),
      ).toBe(true);
    expect(await inState(tasks, again, 'running')).toMatchObject({ attempt: 2 });
    expect(said(next, 'began')).toEqual([again]);
    expect(said(worker, 'aborted').sort()).toEqual([once, again].sort());
    expect(await tasks.get(once)).toMatchObject({ status: 'interrupted', attempt: 1 });
  });

  it('keeps its tasks if no other process has ended them', async () => {
    const worker = await processes.worker({ concurrency: 2 });
    const tasks = processes.manager();
    const id = await tasks.define('once').enqueue(5000);
    const blocking = await tasks.define('block').enqueue(3500);
    await inState(tasks, id, 'success');
    await inState(tasks, blocking, 'success');
    expect(said(worker, 'began').sort()).toEqual([id, blocking].sort());
  });

  it('interrupts tasks that another program has returned to the queue', async () => {
    const tasks = processes.manager();
    const worker = await processes.worker();
    const once = tasks.define<[number]>('once');
    const ids = await Promise.all([once.enqueue(60_000), once.enqueue(60_000)]);
    const again = await tasks.define('again', requeue).enqueue(3000);
    await waitFor(() => said(worker, 'began').length === 3);
    await processes.kill(worker);
    const connection = processes.redis.connection;
    const plain = new Worker('default', null, {
      connection,
      prefix: '{jobs}',
      autorun: false,
      stalledInterval: 300,
    });
    plain.on('error', () => undefined);
    await plain.startStalledCheckTimer();
    const queue = new Queue('default', { connection, prefix: '{jobs}' });
    await waitFor(async () => (await queue.getJobCounts('active')).active === 0, 20);
    await Promise.all([plain.close(), queue.close()]);
    const next = await processes.worker();
    for (const id of ids) await inState(tasks, id, 'interrupted');
    await inState(tasks, again, 'success');
    expect(said(next, 'began').filter((id) => id !== again)).toEqual([]);
  });
});

(hasRedis ? describe : describe.skip)('a running task that is no longer in Redis', () => {
  it('is aborted, and the log reports that its result was dropped', async () => {
    const { logger, lines } = recordingLogger();
    const tasks = processes.manager(logger);
    const { passed, open } = gate();
    let reason: unknown;
    const slow = tasks.task('slow', async () => {
      const { signal } = taskContext();
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      reason = signal.reason;
      await passed;
    });
    await tasks.start();
    const id = await slow.enqueue();
    await inState(tasks, id, 'running');
    const client = new Redis(processes.redis.connection);
    await client.flushall();
    client.disconnect();
    open();
    await waitFor(() => reason !== undefined, 10);
    expect((reason as Error).message).toMatch(/no longer in Redis/);
    const dropped = await waitFor(
      () => lines.find(({ msg }) => String(msg).includes('was dropped')),
      10,
    );
    expect(dropped).toMatchObject({
      level: 40,
      taskId: id,
      task: 'slow',
      attempt: 1,
      msg: expect.stringMatching(/no longer in Redis/),
    });
    expect(lines.filter(({ msg }) => /another process/.test(String(msg)))).toEqual([]);
  });
});
