import { randomUUID } from 'node:crypto';
import { AttemptSignal } from '../engines/attempt-signal.js';
import { Bell } from '../engines/bell.js';
import { commandTasks } from '../engines/bulk.js';
import { embeddedParts, rerunOf } from '../engines/embedded/bulk-parts.js';
import { memoryPromises } from '../engines/embedded/promises.js';
import { embeddedStore } from '../engines/embedded/store.js';
import { memoryPort, type WritePort } from '../engines/embedded/write-port.js';
import { aggregate } from '../engines/tables/read/aggregates.js';
import { Reader } from '../engines/tables/read/reader.js';
import type { Row } from '../engines/tables/schema/database.js';
import { type ClaimedRow, stateOf, toClaimed, toSummary } from '../engines/tables/schema/rows.js';
import { storedEnd, type Write, type Written } from '../engines/tables/write/batch.js';
import { packTasks } from '../engines/tables/write/packed-tasks.js';
import { booleanOption, numberOption, optionsObject, wrongType } from '../options.js';
import type { SharedStore } from '../store/shared-store.js';
import type {
  Action,
  Aggregates,
  AttemptIo,
  Command,
  CommandBy,
  LogQuery,
  NewLogLine,
  NewTask,
  Outcome,
  Schedule,
  TaskEngine,
  TaskQuery,
  TaskRunner,
  TransitionObserver,
} from '../tasks/engine.js';
import { taskIds } from '../tasks/task-id.js';
import { taskStatuses } from '../tasks/types.js';

/** Options of {@link testEngine}. */
export interface TestEngineOptions {
  /** The time to begin with. Default: now. */
  now?: Date | undefined;
  /** Whether what is due runs within the `enqueue` that stores it; else it waits for `run`. Default `true`. */
  inline?: boolean | undefined;
}

/** An engine for tests of an app: one task at a time, in order, and nothing happens by itself. */
export interface TestEngine extends TaskEngine {
  /** What its clock says. */
  readonly time: Date;
  /** Runs what is due, the largest priority first and the oldest first among equals, until nothing is. */
  run(): Promise<void>;
  /**
   * Turns the clock on by so many seconds. Retries, delayed tasks and schedules that become due on the way run each at its
   * own time.
   */
  advance(seconds: number): Promise<void>;
}

/**
 * Makes an engine for the tests of an app, in memory: `await task.enqueue()` has run the task when it resolves, a wait of an
 * hour takes as long as `await engine.advance(3600)`, and states, attempts, logs and schedules are those of the real one.
 * Time-outs of attempts are real ones.
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
  const { now, inline } = optionsObject<TestEngineOptions>('testEngine', options, ['now', 'inline']);
  if (now !== undefined && !(now instanceof Date && !Number.isNaN(now.getTime()))) throw wrongType('now', now, 'a valid Date');
  return new InlineEngine(now?.getTime() ?? Date.now(), booleanOption('inline', inline, true));
}

class InlineEngine implements TestEngine {
  readonly can: ReadonlySet<Action> = new Set(['retry', 'rerun', 'cancel', 'delete', 'run', 'pause', 'resume']);
  readonly promises = memoryPromises;
  readonly store: SharedStore;
  readonly clock = { now: () => this.#now, newTaskId: taskIds(() => this.#now) };
  readonly #inline: boolean;
  readonly #owner = randomUUID();
  readonly #opened = openMemory();
  readonly #changed = new Bell();
  readonly #schedules = new Map<string, Schedule>();
  readonly #commits = { submit: <K extends Write['kind']>(write: Extract<Write, { kind: K }>) => this.#write<K>(write) };
  #now: number;
  #runner: TaskRunner | undefined;
  #observer: TransitionObserver | undefined;
  #signal: AttemptSignal | undefined;
  #draining: Promise<void> | undefined;
  #failed: { error: unknown } | undefined;
  #stopped = false;

  constructor(now: number, inline: boolean) {
    this.#now = now;
    this.#inline = inline;
    this.store = embeddedStore(async () => ({ database: (await this.#opened).database, commits: this.#commits, changed: this.#changed }));
  }

  get time(): Date {
    return new Date(this.#now);
  }

  observe(observer: TransitionObserver): void {
    this.#observer = observer;
  }

  async start(runner: TaskRunner | undefined): Promise<void> {
    this.#runner = runner;
    for (const schedule of this.#schedules.values()) await this.#plan(schedule);
    if (this.#inline) await this.run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#runner = undefined;
    this.#changed.close();
    await (await this.#opened).port.close();
  }

  async enqueue(tasks: readonly NewTask[]): Promise<readonly string[]> {
    const standing = await this.#write<'enqueue'>({ kind: 'enqueue', tasks: packTasks(tasks) });
    if (this.#inline) await this.run();
    return standing ?? tasks.map(({ id }) => id);
  }

  schedule(schedule: Schedule): void {
    this.#schedules.set(schedule.name, schedule);
    if (this.#runner) this.#later(this.#plan(schedule));
  }

  async #plan({ name, task, rule, prepare, next }: Schedule): Promise<void> {
    const [at, template] = [this.#now, packTasks([prepare()])];
    await this.#write<'plan'>({ kind: 'plan', name, task, rule, template, nextAt: next(at) ?? null, at });
  }

  /** One at a time: a handler that enqueues leaves what it stored to whoever runs it. */
  async run(): Promise<void> {
    if (this.#draining) return;
    this.#draining = this.#drain();
    try {
      await this.#draining;
    } finally {
      this.#draining = undefined;
    }
    const failed = this.#failed;
    this.#failed = undefined;
    if (failed) throw failed.error;
  }

  /** Work that no call waits for. The next `run` rejects with its error, unless the engine has stopped. */
  #later(work: Promise<unknown>): void {
    work.catch((error: unknown) => {
      if (!this.#stopped) this.#failed ??= { error };
    });
  }

  async #drain(): Promise<void> {
    for (let row = await this.#claim(); row; row = await this.#claim()) await this.#attempt(row);
  }

  async #claim(): Promise<ClaimedRow | undefined> {
    if (!this.#runner) return undefined;
    const { port } = await this.#opened;
    const at = this.#now;
    const claim = { owner: this.#owner, names: [...this.#runner.names()], limit: 1, at };
    const { claimed, begun, expired } = await port.apply({ writes: [], claim, at, wanted: taskStatuses });
    this.#tell([...begun, ...expired]);
    return claimed[0];
  }

  async #attempt(row: ClaimedRow): Promise<void> {
    const claimed = toClaimed(row);
    const key = { seq: row[0], owner: this.#owner, attempt: claimed.attempt };
    const signal = new AttemptSignal((error) => this.#later(Promise.reject(error)));
    this.#signal = signal;
    let over = false;
    const log = (line: NewLogLine): void => {
      const entry = { ...line, at: this.#now, task: key.seq, attempt: key.attempt, late: over };
      this.#later(this.#write<'log'>({ kind: 'log', logs: [entry] }));
    };
    const progress = (value: number, text: string | null): void => {
      const entries = [{ task: key.seq, attempt: key.attempt, value, text }];
      this.#later(this.#write<'progress'>({ kind: 'progress', owner: this.#owner, entries }));
    };
    // Time-outs are measured on the real clock.
    const deadlineAt = claimed.deadlineAt === undefined ? undefined : Date.now() + claimed.deadlineAt - this.#now;
    const io: AttemptIo = {
      get signal() {
        return signal.signal;
      },
      abort: (reason) => signal.abort(reason),
      log,
      progress,
    };
    const running = this.#runner?.run({ ...claimed, deadlineAt }, io);
    const result = await running?.result;
    over = true;
    if (!running || !result) return;
    const done = await this.#write<'finish'>({ kind: 'finish', ...key, at: this.#now, result });
    if (typeof done === 'object') this.#tell([done]);
    const end = storedEnd(done);
    if (end !== 'lost') running.logEnd(end);
  }

  async advance(seconds: number): Promise<void> {
    const target = this.#now + numberOption('seconds of advance()', seconds, 0, { unit: 'seconds' }) * 1000;
    await this.run();
    for (let at = await this.#nextDue(); at !== undefined && at <= target; at = await this.#nextDue()) {
      this.#now = Math.max(this.#now, at);
      await this.#fireDue();
      await this.run();
    }
    this.#now = target;
  }

  async #nextDue(): Promise<number | undefined> {
    const { database } = await this.#opened;
    const row = database.get(
      `SELECT min(due) AS due FROM (SELECT min(ready_at) AS due FROM task WHERE ready_at IS NOT NULL
       UNION ALL SELECT min(next_at) FROM schedule WHERE paused_at IS NULL)`,
    );
    return this.#runner && typeof row?.due === 'number' ? row.due : undefined;
  }

  async #fireDue(): Promise<void> {
    const { reader } = await this.#opened;
    for (const row of reader.schedules()) {
      const schedule = this.#schedules.get(String(row.name));
      if (!schedule || typeof row.next_at !== 'number' || row.next_at > this.#now || row.paused_at !== null) continue;
      const [dueAt, at] = [row.next_at, this.#now];
      const { name, overlap } = schedule;
      const nextAt = schedule.next(at, dueAt) ?? null;
      await this.#write<'fire'>({ kind: 'fire', name, dueAt, nextAt, overlap, skip: false, newId: this.clock.newTaskId(), at });
    }
  }

  async control(command: Command, by: CommandBy): Promise<Outcome> {
    const outcome = await this.#control(command, by);
    if (this.#inline) await this.run();
    return outcome;
  }

  async #control(command: Command, by: CommandBy): Promise<Outcome> {
    const at = this.#now;
    const who = { by: by.actor, reason: by.reason, at };
    if ('queue' in command) {
      await this.#write<'pauseQueue'>({ kind: 'pauseQueue', queue: command.queue, paused: command.action === 'pause', ...who });
      return { results: [], known: true };
    }
    if ('schedule' in command) {
      const { schedule: name, action } = command;
      if (action !== 'run')
        return {
          results: [],
          known: await this.#write<'pauseSchedule'>({ kind: 'pauseSchedule', name, paused: action === 'pause', ...who }),
        };
      const row = await this.#write<'runSchedule'>({ kind: 'runSchedule', name, newId: this.clock.newTaskId(), at });
      const task = row && toSummary(row);
      return task ? { results: [{ id: task.id, ok: true, task }], known: true } : { results: [], known: false };
    }
    if (command.action === 'rerun') return { results: await this.#write<'rerun'>(rerunOf(command, this.clock.newTaskId, at)) };
    const { reader } = await this.#opened;
    const outcome = await commandTasks(embeddedParts(reader, this.#commits, at), command, by);
    if (command.action === 'cancel' && !by.dryRun && outcome.results.some((result) => result.ok && result.task.status === 'running'))
      this.#signal?.abort(new DOMException('the task was cancelled', 'AbortError'));
    return outcome;
  }

  async find(query: TaskQuery): ReturnType<TaskEngine['find']> {
    return (await this.#opened).reader.find(query);
  }

  async get(id: string): ReturnType<TaskEngine['get']> {
    return (await this.#opened).reader.get(id);
  }

  async logs(id: string, query: LogQuery): ReturnType<TaskEngine['logs']> {
    return (await this.#opened).reader.logs(id, query);
  }

  async aggregate<K extends keyof Aggregates>(kind: K, ...query: Aggregates[K]['query']): Promise<Aggregates[K]['answer']> {
    const { database, reader } = await this.#opened;
    return aggregate({ database, reader, now: this.#now, lastSign: () => 0 }, kind, query);
  }

  async describe(): ReturnType<TaskEngine['describe']> {
    return { ...(await this.#opened).reader.describe(), engine: 'test' };
  }

  async *watch(after: number, signal: AbortSignal): ReturnType<TaskEngine['watch']> {
    const { reader } = await this.#opened;
    yield* reader.watch(after, this.#changed, signal);
  }

  async #write<K extends Write['kind']>(write: Extract<Write, { kind: K }>): Promise<Written[K]> {
    const { port } = await this.#opened;
    const { outcomes } = await port.apply({ writes: [write], claim: undefined, at: this.#now, wanted: taskStatuses });
    const [outcome] = outcomes;
    if (outcome && !outcome.ok) throw new Error(outcome.error.message);
    this.#changed.ring();
    return outcome?.value as Written[K];
  }

  #tell(rows: readonly Row[]): void {
    for (const row of rows) if (this.#observer?.wants(stateOf(row.status))) this.#observer.tell(toSummary(row));
  }
}

async function openMemory(): Promise<{ port: WritePort; database: Awaited<ReturnType<typeof memoryPort>>['database']; reader: Reader }> {
  const { port, database } = await memoryPort();
  return { port, database, reader: new Reader(database) };
}
