import { Background } from '../../../background.js';
import { runInEmptyContext } from '../../../empty-context.js';
import type { Logger } from '../../../options.js';
import type { Schedule } from '../../../tasks/new-task.js';
import type { Reader } from '../../tables/read/reader.js';
import type { SummaryRow } from '../../tables/schema/summaries.js';
import { packTask } from '../../tables/write/packed-tasks.js';
import type { Clock, Timer } from '../clock.js';
import type { GroupCommit } from '../group-commit.js';
import { clockTolerance } from './clock-set-back.js';

/** If a run is later than this many milliseconds, it counts as missed. */
const missedAfter = 60_000;
/** Milliseconds before storing a run is tried again. */
const retryDelay = 1000;

interface Deps {
  clock: Clock;
  logger: Logger;
  /** Called with the row of a created task. */
  made(row: SummaryRow): void;
  /** Called when there is a task to run. */
  wake(): void;
}

interface Storage {
  reader: Reader;
  commits: GroupCommit;
}

interface Entry {
  schedule: Schedule;
  firing: Background;
  timer?: Timer | undefined;
  /** The run that the timer waits for, in Unix milliseconds. */
  at?: number | undefined;
  /** Whether the schedule was in the database when it was last stored or read. */
  stored?: boolean;
}

/**
 * Fires schedules. The database holds the next run of each schedule. Every process that defines the
 * schedule waits for that time. The first process creates the task and plans the next run in one
 * commit, so each run happens once.
 */
export class ScheduleTimers {
  readonly #deps: Deps;
  readonly #entries = new Map<string, Entry>();
  readonly #planning: Background;
  #storage: Storage | undefined;

  constructor(deps: Deps) {
    this.#deps = deps;
    this.#planning = new Background(deps.logger, 'storing schedules');
  }

  add(schedule: Schedule): void {
    this.#entries.set(schedule.name, {
      schedule,
      firing: new Background(this.#deps.logger, 'storing a scheduled task'),
    });
    if (this.#storage) runInEmptyContext(() => this.#plan([schedule]));
  }

  /** Returns the names of the schedules that this process defines. */
  names(): string[] {
    return [...this.#entries.keys()];
  }

  start(storage: Storage): void {
    this.#storage = storage;
    this.#plan([...this.#entries.values()].map(({ schedule }) => schedule));
  }

  stop(): void {
    this.#storage = undefined;
    for (const entry of this.#entries.values()) entry.timer?.clear();
  }

  /** Reads the next runs again, because other processes may have changed them. */
  refresh(): void {
    if (!this.#storage || this.#entries.size === 0) return;
    const unplanned: Schedule[] = [];
    const missing = new Set([...this.#entries.values()].filter(({ stored }) => stored));
    for (const row of this.#storage.reader.schedules()) {
      const entry = this.#entries.get(row.name);
      if (!entry) continue;
      missing.delete(entry);
      entry.stored = true;
      if (row.paused_at !== null) this.#wait(entry, undefined);
      else if (row.next_at !== null) this.#wait(entry, row.next_at);
      else if (entry.schedule.next(this.#deps.clock.now()) !== undefined)
        unplanned.push(entry.schedule);
    }
    for (const entry of missing) {
      // The API keeps schedules that a process defines, so something else has deleted this row.
      entry.stored = false;
      this.#wait(entry, undefined);
      unplanned.push(entry.schedule);
    }
    if (unplanned.length > 0) this.#plan(unplanned);
  }

  #plan(schedules: readonly Schedule[]): void {
    if (schedules.length === 0) return;
    this.#storePlans(schedules)
      .then(() => this.refresh())
      .then(() => this.#planning.worked())
      .catch((err) =>
        this.#later(
          () => this.#planning.failed(err),
          () => this.#plan(schedules),
        ),
      );
  }

  async #storePlans(schedules: readonly Schedule[]): Promise<void> {
    const commits = this.#storage?.commits;
    const at = this.#deps.clock.now();
    await Promise.all(
      schedules.map(async ({ name, task, rule, next, prepare }) => {
        const template = packTask(prepare());
        await commits?.submit({
          kind: 'plan',
          name,
          task,
          rule,
          template,
          nextAt: next(at) ?? null,
        });
        // Set before the next read, so that a row that is deleted in the meantime counts as
        // missing.
        const entry = this.#entries.get(name);
        if (commits && entry) entry.stored = true;
      }),
    );
  }

  #wait(entry: Entry, at: number | undefined): void {
    if (entry.at === at && entry.timer) return;
    entry.timer?.clear();
    entry.at = at;
    entry.timer = undefined;
    if (at === undefined || !this.#storage) return;
    entry.timer = this.#deps.clock.at(
      at,
      () => this.#fire(entry, at),
      () => this.#restartIfSetBack(entry, at),
    );
  }

  /**
   * Restarts an interval if the clock was set back. Only then is the next run further away than the
   * interval.
   */
  #restartIfSetBack(entry: Entry, dueAt: number): void {
    const { interval } = entry.schedule;
    if (interval !== undefined && dueAt - this.#deps.clock.now() > interval + clockTolerance)
      this.#restart(entry, { dueAt, interval });
  }

  /**
   * Restarts an interval, so that it does not pause for the length of the jump. If that fails, the
   * next check of the timer tries again.
   */
  #restart(
    { schedule: { name, rule } }: Entry,
    { dueAt, interval }: { dueAt: number; interval: number },
  ): void {
    this.#planning.run(async () => {
      const nextAt = this.#deps.clock.now() + interval;
      await this.#storage?.commits.submit({
        kind: 'restartInterval',
        name,
        rule,
        dueAt,
        nextAt,
      });
      this.refresh();
    });
  }

  #fire(entry: Entry, dueAt: number): void {
    this.#storeRun(entry.schedule, dueAt)
      .then((row) => {
        // If the stored run was read in the meantime, the timer already waits for the next run.
        if (entry.at === dueAt) entry.timer = undefined;
        entry.firing.worked();
        this.refresh();
        if (!row) return;
        this.#deps.made(row);
        this.#deps.wake();
      })
      .catch((err) => {
        const note = (): void => entry.firing.failed(err, { schedule: entry.schedule.name });
        this.#later(note, () => this.#fire(entry, dueAt), entry);
      });
  }

  async #storeRun(
    { name, overlap, catchUp, next }: Schedule,
    dueAt: number,
  ): Promise<SummaryRow | undefined> {
    const { clock } = this.#deps;
    const at = clock.now();
    const skip = at - dueAt > missedAfter && !catchUp;
    // If several runs were missed, this run stands for all of them.
    const nextAt = next(Math.max(dueAt, at), dueAt) ?? null;
    return this.#storage?.commits.submit({
      kind: 'fire',
      name,
      dueAt,
      nextAt,
      overlap,
      skip,
      newId: clock.newTaskId(),
      at,
    });
  }

  /** Logs a failure, and tries again after a delay. */
  #later(note: () => void, again: () => void, entry?: Entry): void {
    if (!this.#storage) return;
    note();
    const timer = this.#deps.clock.after(
      retryDelay,
      () => this.#storage && again(),
      entry ? undefined : 'background',
    );
    if (entry) entry.timer = timer;
  }
}
