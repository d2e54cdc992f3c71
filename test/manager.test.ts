import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { TaskManager } from '../src/manager.js';
import type { AppConnection } from '../src/tasks/engine.js';
import { testEngine } from '../src/testing/index.js';
import { recordingLogger } from './helpers/logs.js';

const by = { actor: 'test' };

describe('TaskManager', () => {
  let tasks: TaskManager;
  beforeEach(() => {
    tasks = new TaskManager({ engine: testEngine(), logger: false });
  });
  afterEach(() => tasks.stop());

  it.each<[string, object, RegExp, typeof TypeError | typeof RangeError]>([
    ['negative retries', { retries: -1 }, /^retries of task 'work' is/, RangeError],
    ['a fraction of a retry', { retries: 0.5 }, /^retries of task 'work' is/, RangeError],
    ['a backoff as text', { backoff: 'double' }, /^backoff of task 'work' is "double"/, TypeError],
    ['a backoff that shrinks', { backoff: 0.5 }, /^backoff of task 'work' is/, RangeError],
    ['a negative maxDelay', { maxDelay: -1 }, /^maxDelay of task 'work' is/, RangeError],
    ['a jitter over 1', { jitter: 2 }, /^jitter of task 'work' is/, RangeError],
    [
      'a retryOn that is not a function',
      { retryOn: 'TimeoutError' },
      /^retryOn of task 'work' is "TimeoutError"/,
      TypeError,
    ],
    ['a timeout of 0', { timeout: 0 }, /^timeout of task 'work' is/, RangeError],
    ['a deadline of NaN', { deadline: Number.NaN }, /^deadline of task 'work' is/, TypeError],
    ['a concurrency of 0', { concurrency: 0 }, /^concurrency of task 'work' is/, RangeError],
    [
      'a priority over a million',
      { priority: 1_000_001 },
      /^priority of task 'work' is/,
      RangeError,
    ],
    [
      'a tag that is not a string',
      { tags: { tenant: 7 } },
      /^tags\.tenant of task 'work' is/,
      TypeError,
    ],
    [
      'a tag with half a surrogate pair',
      { tags: { tenant: '\u{1F600}'.slice(0, 1) } },
      /^tags\.tenant of task 'work' is/,
      TypeError,
    ],
    [
      'text instead of a boolean',
      { requeueOnInterrupt: 'yes' },
      /^requeueOnInterrupt of task 'work' is/,
      TypeError,
    ],
    ['an unknown option', { retry: 3 }, /retry/, TypeError],
  ])('rejects a task with %s and names what is accepted', (_case, options, message, Kind) => {
    const define = () => tasks.task('work', () => 1, options as never);
    expect(define).toThrow(Kind);
    expect(define).toThrow(message);
  });

  it.each<[string, object, RegExp]>([
    ['delay instead of runIn', { delay: 5 }, /"runIn"/],
    ['runAt and runIn', { runAt: new Date(), runIn: 5 }, /cannot be combined/],
    ['an invalid time', { runAt: new Date('soon') }, /^runAt/],
    ['a window without a key', { idempotencyWindow: 5 }, /needs an idempotencyKey/],
    ['an empty key', { idempotencyKey: '' }, /^idempotencyKey/],
    ['a key of 257 characters', { idempotencyKey: 'k'.repeat(257) }, /^idempotencyKey/],
    ['a tag with half a surrogate pair', { tags: { tenant: '7\uDE00' } }, /^tags\.tenant/],
    ['an unknown option', { proirity: 1 }, /proirity/],
  ])('rejects a call with %s', (_case, options, message) => {
    const work = tasks.task('work', () => 1);
    expect(() => work.with(options as never)).toThrow(message);
  });

  it.each<[string, object, RegExp]>([
    ['a file: URL', { database: 'file:///var/lib/tasks.db' }, /^database .*fileURLToPath/],
    [
      'a file: URL without slashes',
      { database: 'file:tasks.db?mode=ro' },
      /^database .*fileURLToPath/,
    ],
    ['the URL of a server', { database: 'postgres://db/tasks' }, /^database /],
    [
      'a URL object',
      { database: new URL('file:///var/lib/tasks.db') as unknown as string },
      /^database .*fileURLToPath/,
    ],
    ['a database and an engine', { database: 'x.db', engine: testEngine() }, /cannot be combined/],
    ['an invalid engine', { engine: {} }, /^engine is/],
    ['an unknown option', { databse: 'x.db' }, /databse/],
    ['a poll of 0', { database: ':memory:', pollInterval: 0 }, /^pollInterval/],
  ])('rejects %s', (_case, options, message) => {
    expect(() => new TaskManager(options as never)).toThrow(message);
  });

  it('rejects a second task or schedule with the same name', () => {
    tasks.task('work', () => 1);
    expect(() => tasks.task('work', () => 2)).toThrow("a task named 'work' is already defined");
    expect(() => tasks.define('work')).toThrow(RangeError);
    const declared = tasks.define('later');
    declared.handle(() => 1);
    expect(() => declared.handle(() => 2)).toThrow(/has a handler already/);
    tasks.schedule('nightly', () => 1, { every: 60 });
    expect(() => tasks.schedule('nightly', declared, { every: 60 })).toThrow(
      "a schedule named 'nightly' already exists",
    );
    expect(() => tasks.schedule('nightly', () => 1, { every: 60 })).toThrow(RangeError);
  });

  it('rejects a schedule of a foreign task or with arguments that JSON would change', () => {
    const other = new TaskManager({ engine: testEngine(), logger: false });
    const foreign = other.task('foreign', () => 1);
    expect(() => tasks.schedule('nightly', foreign, { every: 60 })).toThrow(/not of this manager/);
    const work = tasks.define<[value: unknown]>('work');
    expect(() => tasks.schedule('nightly', work, { every: 60, args: [new Date()] })).toThrow(
      /args\[0\] is a Date/,
    );
  });

  it('logs the errors of a listener and still calls the other listeners', async () => {
    const { logger, lines } = recordingLogger();
    const own = new TaskManager({ engine: testEngine(), logger });
    const seen: string[] = [];
    own.on('success', () => {
      throw new Error('sync');
    });
    own.on('success', async () => {
      throw new Error('async');
    });
    const listener = ({ name }: { name: string }): void => void seen.push(name);
    own.on('success', listener);
    const work = own.task('work', () => 1);
    await own.start();
    await work.enqueue();
    await new Promise((resolve) => setImmediate(resolve));
    expect(lines.filter(({ msg }) => msg === 'a listener failed')).toHaveLength(2);
    own.off('success', listener);
    await work.enqueue();
    expect(seen).toEqual(['work']);
    expect(() => own.on('done' as never, listener)).toThrow(
      expect.objectContaining({ code: 'INVALID_INPUT' }),
    );
    await own.stop();
  });

  it('rejects invalid arguments of a rerun', async () => {
    const work = tasks.task('work', (n: number) => n);
    await tasks.start();
    const ids = await work.enqueueMany([[1], [2]]);
    await expect(tasks.control({ action: 'rerun', ids, args: [3] }, by)).rejects.toThrow(
      /the rerun of one task, not of 2/,
    );
    await expect(
      tasks.control({ action: 'rerun', ids: ids.slice(1), args: '{"n":3}' as never }, by),
    ).rejects.toThrow(TypeError);
    expect((await tasks.find({ limit: 10 })).total).toBe(2);
  });

  it('rejects backup and enqueueIn if the engine has no file', async () => {
    const work = tasks.define('work');
    await expect(tasks.backup('x.db')).rejects.toThrow(
      expect.objectContaining({ code: 'NOT_SUPPORTED' }),
    );
    expect(() => work.enqueueIn({} as AppConnection)).toThrow(
      expect.objectContaining({ code: 'NOT_SUPPORTED' }),
    );
  });
});
