import { isReported } from '../../../errors.js';
import type { TaskRunner } from '../../../tasks/task-runner.js';
import type { Stuck } from '../../stuck-attempts.js';
import { claimedTask } from '../../tables/schema/claimed-task.js';
import { idOf } from '../../tables/schema/rows.js';
import { stateOf } from '../../tables/schema/states.js';
import type { BatchResult, Claim, WriteOf } from '../../tables/write/batch.js';
import type { GroupCommit } from '../group-commit.js';
import type { Shared } from '../shared.js';
import { createEndRecorder } from './ends.js';
import { createOutputWriter } from './output.js';
import { createSlots } from './slots.js';

interface ExecutorDeps extends Shared {
  runner: TaskRunner;
  commits: GroupCommit;
  /**
   * Called when the number of stuck handlers changes: those that hold a slot after their attempt
   * was given up.
   */
  stuckChanged(stuck: Stuck): void;
}

/*
 * The parts that run tasks work together as follows:
 * 1. An event wakes `GroupCommit`: a slot became free, a task was stored, a delayed task is due
 *    (`createClaimTimer`), or another process committed.
 * 2. The next commit calls `claim` to find out how many tasks this process can run, and claims them
 *    in its transaction.
 * 3. `begin` gives each claimed task to `Slots`, which calls the runner and holds the slot until
 *    the handler ends.
 * 4. While the task runs, the output writer gathers its log lines and progress, and writes them
 *    every 50 ms.
 * 5. `EndRecorder` stores how the attempt ended. The commit that stores the end can already claim a
 *    task for its slot.
 */

/** Claims tasks for this process and runs them. */
export type Executor = ReturnType<typeof createExecutor>;

/** Creates the {@link Executor} of a process. */
export function createExecutor(deps: ExecutorDeps) {
  const { owner, runner, commits, transitions, clock, logger } = deps;
  /** What the next commits may claim: nothing, a single task once, or a task for each free slot. */
  let claims: 'nothing' | 'one' | 'all' = 'nothing';
  /** Number of tasks that commits have claimed or ended as expired since `runOne` was called. */
  let found = 0;
  const wake = (): void => commits.wake();
  const ends = createEndRecorder(deps);
  const slots = createSlots({ ...deps, ends, logged: () => output.writeSoon(), freed: wake });
  const output = createOutputWriter({ ...deps, slots });
  runner.onChange(wake);

  /**
   * Returns running tasks to the queue. Ends that could not be stored go first, into the same
   * commit. Otherwise a finished task would end as interrupted if the file was locked for a long
   * time.
   */
  const handBackRunning = async (): Promise<void> => {
    await commits.settled();
    ends.retryNow();
    await new Promise<void>((resolve) => clock.nextTurn(resolve));
    try {
      const rows = await commits.submit({ kind: 'recover', owner, at: clock.now() });
      slots.handedBack(new Map(rows.map(({ rowid, status }) => [rowid, stateOf(status)])));
      transitions.ofRows(rows);
    } catch (err) {
      const message =
        'running tasks could not be returned; another process returns them when this one ' +
        'has ended';
      if (!isReported(err)) logger.error({ err }, message);
    }
  };

  return {
    /** Claims tasks from now on, whenever slots are free. */
    start(): void {
      claims = 'all';
      wake();
    },

    /** Returns whether it claims tasks without a call of `runOne`. */
    isStarted: () => claims === 'all',

    /**
     * Claims one task, if any is due, and runs it until its end is stored. Returns whether there
     * was one. Only for an executor that is not started.
     */
    async runOne(): Promise<boolean> {
      found = 0;
      claims = 'one';
      wake();
      await commits.idle();
      while (slots.isActive()) await slots.ended();
      return found > 0;
    },

    /** Writes the gathered output of attempts now. */
    flush: output.write,

    /**
     * Returns what the next commit claims. `reserved`: the number of tasks that the open commits
     * may still claim.
     */
    claim(reserved: number): Claim | undefined {
      const limit = { nothing: 0, one: 1, all: slots.free() - reserved }[claims];
      if (claims === 'one') claims = 'nothing';
      return limit > 0 ? { owner, names: [...runner.names()], limit, at: clock.now() } : undefined;
    },

    /** Runs the tasks that a commit has claimed. */
    begin({ claimed, begun, expired }: Pick<BatchResult, 'claimed' | 'begun' | 'expired'>): void {
      found += claimed.length + expired.length;
      for (const row of claimed.map(claimedTask.unpack)) {
        try {
          slots.run(row);
        } catch (err) {
          // The row is damaged. The other tasks of this claim must still start.
          logger.error(
            { err, taskId: idOf(row.id), task: row.name },
            'a task could not be started',
          );
        }
      }
      transitions.ofRows([...begun, ...expired]);
    },

    /**
     * Returns the write that returns claimed tasks to the queue if this process never learned of
     * them.
     */
    handBack(): WriteOf<'handBack'> {
      return { kind: 'handBack', owner, held: slots.held(), at: clock.now() };
    },

    /** Cancels the attempts for which a cancellation was requested. */
    cancel: slots.cancel,

    /** Stops claiming tasks. */
    stopClaiming(): void {
      claims = 'nothing';
    },

    /**
     * Waits up to `timeout` seconds for the running attempts, then returns the rest to the queue,
     * as if this process had died. Returns whether all of them ended in time.
     */
    async drain(timeout: number): Promise<boolean> {
      // The tasks that an open batch has claimed count as running, too.
      await commits.settled();
      if (await slots.drain(timeout)) return true;
      logger.warn({ running: slots.size() }, 'stopped while tasks were running');
      slots.abortAll();
      // Handlers that obey their signal end now. If an attempt still succeeds, its success is
      // stored.
      await slots.drain(0.25);
      await handBackRunning();
      return false;
    },

    /** Stops storing ends, and writes the remaining output. */
    close(): void {
      ends.close();
      output.close();
      slots.close();
    },
  };
}
