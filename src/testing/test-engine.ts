import { memoryBackend } from '../engines/embedded/memory-backend.js';
import type { Executor } from '../engines/embedded/run/executor.js';
import type { StorageBackend } from '../engines/embedded/storage-backend.js';
import { TableEngine } from '../engines/embedded/table-engine.js';
import { booleanOption, type Logger, loggerOption, numberOption, wrongKind } from '../options.js';
import { optionsObject } from '../options-object.js';
import type { Command, CommandBy, Outcome } from '../tasks/commands.js';
import type { AppDescription, TaskEngine } from '../tasks/engine.js';
import type { NewTask } from '../tasks/new-task.js';
import type { TaskRunner } from '../tasks/task-runner.js';
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
  return new InlineEngine(now?.getTime() ?? Date.now(), booleanOption('inline', inline, true));
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
class InlineEngine extends TableEngine implements TestEngine {
  readonly clock: TestClock;
  readonly #inline: boolean;
  readonly #failures: Failures;
  #executor: Executor | undefined;
  #running: Promise<void> | undefined;

  constructor(now: number, inline: boolean) {
    const clock = new TestClock(now);
    const failures = new Failures();
    super({
      storage,
      clock,
      logger: failures.logger,
      retention: { age: undefined, count: undefined },
    });
    this.clock = clock;
    this.#inline = inline;
    this.#failures = failures;
  }

  get time(): Date {
    return new Date(this.clock.now());
  }

  protected override startClaiming(executor: Executor): void {
    this.#executor = executor;
  }

  override async start(runner: TaskRunner | undefined, app?: AppDescription): Promise<void> {
    await super.start(runner, app);
    await this.#runInline();
  }

  override async stop({ timeout }: { timeout: number }): Promise<void> {
    this.#failures.stop();
    // Between two runs, only handlers of abandoned attempts are still running.
    await super.stop({ timeout: this.#running ? timeout : 0 });
  }

  override async enqueue(tasks: readonly NewTask[]): Promise<readonly string[]> {
    const ids = await super.enqueue(tasks);
    await this.#runInline();
    return ids;
  }

  override async control(command: Command, by: CommandBy): Promise<Outcome> {
    const outcome = await super.control(command, by);
    await this.#runInline();
    return outcome;
  }

  async #runInline(): Promise<void> {
    if (this.#inline) await this.run();
  }

  /** If a handler enqueues tasks, the run that called the handler also runs them. */
  async run(): Promise<void> {
    if (this.#running) return;
    this.#running = this.#runAll();
    try {
      await this.#running;
    } finally {
      this.#running = undefined;
    }
    this.#failures.throwFirst();
  }

  async #runAll(): Promise<void> {
    this.clock.turnTo(this.clock.now());
    await this.idle();
    while (await this.#executor?.runOne());
    this.#executor?.flush();
    await this.idle();
  }

  async advance(seconds: number): Promise<void> {
    const target =
      this.clock.now() +
      numberOption('seconds of advance()', seconds, 0, { unit: 'seconds' }) * 1000;
    await this.run();
    for (let at = this.clock.next(); at !== undefined && at <= target; at = this.clock.next()) {
      this.clock.turnTo(at);
      await this.run();
    }
    this.clock.turnTo(target);
  }
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
