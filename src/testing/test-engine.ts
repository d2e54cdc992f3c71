import { memoryBackend } from '../engines/embedded/memory-backend.js';
import type { Executor } from '../engines/embedded/run/executor.js';
import type { StorageBackend } from '../engines/embedded/storage-backend.js';
import { createTableEngine } from '../engines/embedded/table-engine.js';
import { booleanOption, type Logger, loggerOption, numberOption, wrongKind } from '../options.js';
import { optionsObject } from '../options-object.js';
import type { TaskEngine } from '../tasks/engine.js';
import { TestClock } from './test-clock.js';

/** Options of {@link testEngine}. */
export interface TestEngineOptions {
  /** The time at which the clock of the engine starts. Default: now. */
  now?: Date | undefined;
  /**
   * Whether `enqueue` also runs the tasks that are due. If not, they wait for `run`. Default
   * `true`.
   */
  inline?: boolean | undefined;
}

/** An engine for tests of an app. It runs one task at a time, and only when the test asks. */
export interface TestEngine extends TaskEngine {
  /** The current time of its clock. */
  readonly time: Date;
  /**
   * Runs the tasks that are due, by priority and then by age, until none is left.
   */
  run(): Promise<void>;
  /**
   * Moves the clock forward by a number of seconds. Retries, delayed tasks and schedules that
   * become due on the way run at their own times.
   */
  advance(seconds: number): Promise<void>;
}

/**
 * Makes an in-memory engine for the tests of an app. `await task.enqueue()` resolves after the task
 * has run, and `await engine.advance(3600)` replaces an hour of waiting. States, attempts, logs and
 * schedules are those of the embedded engine. Timeouts of attempts use real time.
 *
 * @example
 * ```ts
 * const engine = testEngine();
 * const tasks = new TaskManager({ engine });
 * await tasks.start();
 * const id = await sendEmail.enqueue('ada@example.com');
 * expect((await tasks.get(id)).status).toBe('success');
 * ```
 */
export function testEngine(options?: TestEngineOptions): TestEngine {
  const { now, inline } = optionsObject<TestEngineOptions>('testEngine', options, [
    'now',
    'inline',
  ]);
  if (now !== undefined && !(now instanceof Date && !Number.isNaN(now.getTime())))
    throw wrongKind('now', now, 'a valid Date');
  return inlineEngine(now?.getTime() ?? Date.now(), booleanOption('inline', inline, true));
}

/** In-memory storage that keeps no process alive. */
const storage: StorageBackend = {
  engine: 'test',
  promises: memoryBackend.promises,
  async open(changed) {
    const tables = await memoryBackend.open(changed);
    return { ...tables, port: { ...tables.port, hold() {} } };
  },
};

/**
 * The embedded engine in memory, with a clock that a test moves. It claims a single task, and only
 * when `run` asks for one.
 */
function inlineEngine(now: number, inline: boolean): TestEngine {
  const clock = new TestClock(now);
  const failures = new Failures();
  let executor: Executor | undefined;
  let running: Promise<void> | undefined;
  const { idle, ...engine } = createTableEngine({
    storage,
    clock,
    logger: failures.logger,
    retention: { age: undefined, count: undefined },
    startClaiming: (given) => {
      executor = given;
    },
  });

  const runAll = async (): Promise<void> => {
    clock.turnTo(clock.now());
    await idle();
    while (await executor?.runOne());
    executor?.flush();
    await idle();
  };

  /** If a handler enqueues tasks, the run that called the handler also runs them. */
  const run = async (): Promise<void> => {
    if (running) return;
    running = runAll();
    try {
      await running;
    } finally {
      running = undefined;
    }
    failures.throwFirst();
  };

  /** Runs the tasks that are due after a call, if the engine is `inline`. */
  const thenRun = async <T>(call: Promise<T>): Promise<T> => {
    const answer = await call;
    if (inline) await run();
    return answer;
  };

  return {
    ...engine,
    clock,
    run,

    get time() {
      return new Date(clock.now());
    },

    start: (runner, app) => thenRun(engine.start(runner, app)),
    enqueue: (tasks) => thenRun(engine.enqueue(tasks)),
    control: (command, by) => thenRun(engine.control(command, by)),

    async stop({ timeout }) {
      failures.stop();
      // Between two runs, only handlers of abandoned attempts are still running.
      await engine.stop({ timeout: running ? timeout : 0 });
    },

    async advance(seconds) {
      const by = numberOption('seconds of advance()', seconds, 0, { unit: 'seconds' });
      // Times are whole milliseconds, but 1.005 * 1000 is not.
      const target = clock.now() + Math.round(by * 1000);
      await run();
      for (let at = clock.next(); at !== undefined && at <= target; at = clock.next()) {
        clock.turnTo(at);
        await run();
      }
      clock.turnTo(target);
    },
  };
}

/** Keeps the first error that an engine logs, so that the next `run` rejects with it. */
class Failures {
  readonly logger: Logger = {
    ...loggerOption('logger', false),
    error: ({ err }: { err?: unknown }) => this.#add(err),
  };
  #first: Error | undefined;
  #stopped = false;

  #add(err: unknown): void {
    if (err === undefined || this.#stopped) return;
    // An error of a listener of the app is logged as an object with the fields of the error.
    this.#first ??= err instanceof Error ? err : Object.assign(new Error(), err);
  }

  throwFirst(): void {
    const first = this.#first;
    this.#first = undefined;
    if (first) throw first;
  }

  /** Ignores all later errors. */
  stop(): void {
    this.#stopped = true;
  }
}
