import { Background } from '../../../background.js';
import { runInEmptyContext } from '../../../empty-context.js';
import type { Schedule } from '../../../tasks/new-task.js';
import { packTask } from '../../tables/write/packed-tasks.js';
import type { Timer } from '../clock.js';
import type { Shared, Tables } from '../shared.js';
import { clockTolerance } from './clock-set-back.js';

/** If a run is later than this many milliseconds, it counts as missed. */
const missedAfter = 60_000;
/** Milliseconds before storing a run is tried again. */
const retryDelay = 1000;

interface Entry {
  schedule: Schedule;
  firing: Background;
  timer?: Timer | undefined;
  /** The run that the timer waits for, in Unix milliseconds. */
  at?: number | undefined;
  /** Whether the schedule was in the database when it was last stored or read. */
  stored?: boolean;
}

/** The timers of the schedules that this process defines. */
export type ScheduleTimers = ReturnType<typeof createScheduleTimers>;

/**
 * Creates the part that fires schedules. The database holds the next run of each schedule. Every
 * process that defines the schedule waits for that time. The first process creates the task and
 * plans the next run in one commit, so each run happens once.
 */
export function createScheduleTimers({ clock, logger, transitions, wake }: Omit<Shared, 'owner'>) {
  const entries = new Map<string, Entry>();
  const planning = new Background(logger, 'storing schedules');
  let tables: Tables | undefined;

  /** Tries again after a delay, unless the timers have been stopped by then. */
  const later = (again: () => Promise<void>, background?: 'background'): Timer => {
    const retry = (): void => {
      if (tables) void again();
    };
    return clock.after(retryDelay, retry, background);
  };

  const plan = async (planned: readonly Entry[]): Promise<void> => {
    if (planned.length === 0) return;
    try {
      const at = clock.now();
      await Promise.all(planned.map((entry) => storePlan(entry, at)));
      refresh();
      planning.worked();
    } catch (err) {
      if (!tables) return;
      planning.failed(err);
      later(() => plan(planned), 'background');
    }
  };

  const storePlan = async (entry: Entry, at: number): Promise<void> => {
    const { name, task, rule, next, prepare } = entry.schedule;
    const template = packTask(prepare());
    const nextAt = next(at) ?? null;
    if (!tables) return;
    await tables.commits.submit({ kind: 'plan', name, task, rule, template, nextAt });
    // Set before the next read, so that a row that is deleted in the meantime counts as missing.
    entry.stored = true;
  };

  /** Reads the next runs again, because other processes may have changed them. */
  const refresh = (): void => {
    if (!tables || entries.size === 0) return;
    const unplanned: Entry[] = [];
    const missing = new Set([...entries.values()].filter(({ stored }) => stored));
    for (const row of tables.reader.schedules()) {
      const entry = entries.get(row.name);
      if (!entry) continue;
      missing.delete(entry);
      entry.stored = true;
      if (row.paused_at !== null) wait(entry, undefined);
      else if (row.next_at !== null) wait(entry, row.next_at);
      else if (entry.schedule.next(clock.now()) !== undefined) unplanned.push(entry);
    }
    for (const entry of missing) {
      // The API keeps schedules that a process defines, so something else has deleted this row.
      entry.stored = false;
      wait(entry, undefined);
      unplanned.push(entry);
    }
    void plan(unplanned);
  };

  const wait = (entry: Entry, at: number | undefined): void => {
    if (entry.at === at && entry.timer) return;
    entry.timer?.clear();
    entry.at = at;
    entry.timer = undefined;
    if (at === undefined || !tables) return;
    entry.timer = clock.at(
      at,
      () => void fire(entry, at),
      () => restartIfSetBack(entry, at),
    );
  };

  /**
   * Restarts an interval if the clock was set back, so that it does not pause for the length of the
   * jump. Only then is the next run further away than the interval. If the restart fails, the next
   * check of the timer tries again.
   */
  const restartIfSetBack = ({ schedule: { name, rule, interval } }: Entry, dueAt: number): void => {
    if (interval === undefined || dueAt - clock.now() <= interval + clockTolerance) return;
    planning.run(async () => {
      const nextAt = clock.now() + interval;
      await tables?.commits.submit({ kind: 'restartInterval', name, rule, dueAt, nextAt });
      refresh();
    });
  };

  const fire = async (entry: Entry, dueAt: number): Promise<void> => {
    const { name, overlap, catchUp, next } = entry.schedule;
    try {
      const at = clock.now();
      const skip = at - dueAt > missedAfter && !catchUp;
      // If several runs were missed, this run stands for all of them.
      const nextAt = next(Math.max(dueAt, at), dueAt) ?? null;
      const run = { name, dueAt, nextAt, overlap, skip, newId: clock.newTaskId(), at };
      const row = await tables?.commits.submit({ kind: 'fire', ...run });
      // If the stored run was read in the meantime, the timer already waits for the next run.
      if (entry.at === dueAt) entry.timer = undefined;
      entry.firing.worked();
      refresh();
      if (!row) return;
      transitions.ofRows([row]);
      wake();
    } catch (err) {
      if (!tables) return;
      entry.firing.failed(err, { schedule: name });
      entry.timer = later(() => fire(entry, dueAt));
    }
  };

  return {
    refresh,

    add(schedule: Schedule): void {
      const entry = { schedule, firing: new Background(logger, 'storing a scheduled task') };
      entries.set(schedule.name, entry);
      if (tables) void runInEmptyContext(() => plan([entry]));
    },

    /** Returns the names of the schedules that this process defines. */
    names(): string[] {
      return [...entries.keys()];
    },

    start(opened: Tables): void {
      tables = opened;
      void plan([...entries.values()]);
    },

    stop(): void {
      tables = undefined;
      for (const { timer } of entries.values()) timer?.clear();
    },
  };
}
