import { Writable } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import { type LoggerOptions, pino } from 'pino';
import { type Logger, TaskManager, taskContext } from '../../src/index.js';
import { waitFor } from '../helpers/wait.js';

interface LoggedErr {
  type: string;
  message: string;
  stack: string;
  code?: string;
  aggregateErrors?: LoggedErr[];
  [key: string]: unknown;
}
interface Line {
  level: number;
  msg: string;
  err: LoggedErr;
}

class CardError extends Error {
  readonly request = { headers: { authorization: 'Bearer of the app' } };
}

let tasks: TaskManager | undefined;
afterEach(() => tasks?.stop({ timeout: 0 }));

function written(options: LoggerOptions = {}) {
  const lines: Line[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      lines.push(JSON.parse(String(chunk)) as Line);
      done();
    },
  });
  return { lines, logger: pino({ level: 'trace', ...options }, stream) };
}

/** Runs a task that throws, and returns its log line. */
async function failed(
  thrown: unknown,
  logger: Logger,
  lines: readonly Line[],
  options = {},
): Promise<Line> {
  tasks = new TaskManager({ database: ':memory:', logger });
  const bad = tasks.task(
    'bad',
    () => {
      throw thrown;
    },
    options,
  );
  await tasks.start();
  await bad.enqueue();
  return waitFor(() => lines.find(({ level }) => level >= 40));
}

const refused = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });

describe('the log line of a failed attempt', () => {
  it.each([
    ['pino', () => written()],
    [
      'pino and a serializer for another field',
      () => written({ serializers: { req: () => 'req' } }),
    ],
    [
      'a child logger',
      () => {
        const { logger, lines } = written();
        return {
          logger: logger.child({ part: 'tasks' }, { serializers: { req: () => 'r' } }),
          lines,
        };
      },
    ],
  ])('has class, code, message, stack and cause with %s', async (_case, make) => {
    const { lines, logger } = make();
    const thrown = Object.assign(new CardError('could not bill', { cause: refused }), {
      code: 'E_BILL',
    });
    const { err, msg } = await failed(thrown, logger, lines);
    expect(msg).toBe('task failed');
    expect(err).toMatchObject({
      type: 'CardError',
      code: 'E_BILL',
      message: 'could not bill: connect ECONNREFUSED',
    });
    expect(err.stack).toMatch(
      /could not bill\n +at .*failure-log[\s\S]*caused by: Error: connect ECONNREFUSED/,
    );
    expect(JSON.stringify(err)).not.toContain('Bearer of the app');
  });

  it('passes the same fields to a serializer of the app', async () => {
    const err = (error: Error & { code?: string }) => ({
      is: error.name,
      text: error.message,
      code: (error.cause as typeof error).code,
    });
    const { lines, logger } = written({ serializers: { err } });
    expect((await failed(new RangeError('x', { cause: refused }), logger, lines)).err).toEqual({
      is: 'RangeError',
      text: 'x',
      code: 'ECONNREFUSED',
    });
  });

  it('lists the members of an AggregateError once', async () => {
    const { lines, logger } = written();
    const { err } = await failed(
      new AggregateError([new RangeError('one'), 'two'], 'none'),
      logger,
      lines,
    );
    expect(err.aggregateErrors?.map(({ type, message }) => [type, message])).toEqual([
      ['RangeError', 'one'],
      ['string', 'two'],
    ]);
    expect(err.errors).toBeUndefined();
  });

  it('is written for a frozen listener error, without its attached properties', async () => {
    const { lines, logger } = written();
    tasks = new TaskManager({ database: ':memory:', logger });
    tasks.on('success', () => {
      throw Object.freeze(new CardError('listener'));
    });
    const good = tasks.task('good', () => 1);
    await tasks.start();
    await good.enqueue();
    const { err } = await waitFor(() => lines.find(({ level }) => level === 50));
    expect(err).toMatchObject({ type: 'CardError', message: 'listener' });
    expect(JSON.stringify(err)).not.toContain('Bearer of the app');
  });

  it.each<[string, unknown, string, string]>([
    ['a frozen error', Object.freeze(new RangeError('cold')), 'RangeError', 'cold'],
    ['a plain object', { status: 402 }, 'object', '{"status":402}'],
    ['undefined', undefined, 'undefined', 'undefined'],
  ])('is written for %s', async (_case, thrown, type, message) => {
    const { lines, logger } = written();
    expect((await failed(thrown, logger, lines)).err).toMatchObject({ type, message });
  });

  it.each([
    [
      'retryOn',
      {
        retries: 1,
        retryOn: () => {
          throw Object.freeze(new RangeError('broken'));
        },
      },
    ],
    [
      'backoff',
      {
        retries: 1,
        backoff: () => {
          throw Object.freeze(new RangeError('broken'));
        },
      },
    ],
  ])('is written for a frozen error of %s', async (_case, options) => {
    const { lines, logger } = written();
    expect((await failed(new Error('x'), logger, lines, options)).err).toMatchObject({
      type: 'RangeError',
      message: 'broken',
    });
  });
});

describe('the log line of a cancelled attempt', () => {
  it('is not an error, whatever the handler throws after the abort', async () => {
    const { lines, logger } = written();
    tasks = new TaskManager({ database: ':memory:', logger });
    const endless = tasks.task(
      'endless',
      () => setTimeout(60_000, undefined, { signal: taskContext().signal }),
      { retries: 3 },
    );
    await tasks.start();
    const id = await endless.enqueue();
    await waitFor(async () => (await tasks?.get(id))?.status === 'running');
    await tasks.control({ action: 'cancel', ids: [id] }, { actor: 'test' });
    await waitFor(async () => (await tasks?.get(id))?.status === 'cancelled');
    expect(lines.filter(({ msg }) => /task/.test(msg))).toMatchObject([
      { level: 30, msg: 'task stopped', reason: 'the task was cancelled' },
    ]);
  });
});
