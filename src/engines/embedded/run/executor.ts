import { isReported } from '../../../errors.js';
import type { Logger } from '../../../options.js';
import type { TaskRunner } from '../../../tasks/task-runner.js';
import type { Stuck } from '../../stuck-attempts.js';
import { claimedTask } from '../../tables/schema/claimed-task.js';
import { idOf } from '../../tables/schema/rows.js';
import { stateOf } from '../../tables/schema/states.js';
import type { BatchResult, Claim, WriteOf } from '../../tables/write/batch.js';
import type { Clock } from '../clock.js';
import type { GroupCommit } from '../group-commit.js';
import type { Transitions } from '../transitions.js';
import { EndRecorder } from './ends.js';
import { OutputWriter } from './output.js';
import type { AttemptKey } from './slot.js';
import { Slots } from './slots.js';

interface ExecutorDeps {
  /** The id of this process. */
  owner: string;
  runner: TaskRunner;
  commits: GroupCommit;
  transitions: Transitions;
  clock: Clock;
  logger: Logger;
  /**
   * Called when the number of stuck handlers changes: those that hold a slot after their attempt
   * was given up.
   */
  stuckChanged(stuck: Stuck): void;
}

/*
 * The parts that run tasks work together as follows:
 * 1. An event wakes `GroupCommit`: a slot became free, a task was stored, a delayed task is due
 *    (`ClaimTimer`), or another process committed.
 * 2. The next commit calls `claim` to find out how many tasks this process can run, and claims them
 *    in its transaction.
 * 3. `begin` gives each claimed task to `Slots`, which calls the runner and holds the slot until
 *    the handler ends.
 * 4. While the task runs, `OutputWriter` gathers its log lines and progress, and writes them every
 *    50 ms.
 * 5. `EndRecorder` stores how the attempt ended. The commit that stores the end can already claim a
 *    task for its slot.
 */

/** Claims tasks for this process and runs them. */
export class Executor {
  readonly #deps: ExecutorDeps;
  readonly #slots: Slots;
  readonly #ends: EndRecorder;
  readonly #output: OutputWriter;
  /** What the next commits may claim: nothing, a single task once, or a task for each free slot. */
  #claims: 'nothing' | 'one' | 'all' = 'nothing';
  /** Number of tasks that commits have claimed or ended as expired since `runOne` was called. */
  #found = 0;

  constructor(deps: ExecutorDeps) {
    this.#deps = deps;
    const { owner, runner, commits, transitions, clock, logger, stuckChanged } = deps;
    this.#ends = new EndRecorder({ owner, commits, transitions, clock, logger });
    this.#slots = new Slots({
      ...{ runner, clock, logger, stuckChanged },
      finished: (key, result, rest) => this.#ends.record(key, result, rest),
      abandoned: (key) => this.#ends.abandon(key),
      logged: () => this.#output.writeSoon(),
      freed: () => commits.wake(),
    });
    this.#output = new OutputWriter({ owner, slots: this.#slots, commits, clock, logger });
    runner.onChange(() => commits.wake());
  }

  /** Claims tasks from now on, whenever slots are free. */
  start(): void {
    this.#claims = 'all';
    this.#deps.commits.wake();
  }

  /** Whether it claims tasks without a call of `runOne`. */
  get isStarted(): boolean {
    return this.#claims === 'all';
  }

  /**
   * Claims one task, if any is due, and runs it until its end is stored. Returns whether there was
   * one. Only for an executor that is not started.
   */
  async runOne(): Promise<boolean> {
    const { commits } = this.#deps;
    this.#found = 0;
    this.#claims = 'one';
    commits.wake();
    await commits.idle();
    while (this.#slots.active > 0) await this.#slots.ended();
    return this.#found > 0;
  }

  /** Writes the gathered output of attempts now. */
  flush(): void {
    this.#output.write();
  }

  /**
   * Returns what the next commit claims. `reserved`: the number of tasks that the open commits may
   * still claim.
   */
  claim(reserved: number): Claim | undefined {
    const { owner, runner, clock } = this.#deps;
    const limit = { nothing: 0, one: 1, all: this.#slots.free - reserved }[this.#claims];
    if (this.#claims === 'one') this.#claims = 'nothing';
    return limit > 0 ? { owner, names: [...runner.names()], limit, at: clock.now() } : undefined;
  }

  /** Runs the tasks that a commit has claimed. */
  begin({ claimed, begun, expired }: Pick<BatchResult, 'claimed' | 'begun' | 'expired'>): void {
    const { transitions, logger } = this.#deps;
    this.#found += claimed.length + expired.length;
    for (const row of claimed.map(claimedTask.unpack)) {
      try {
        this.#slots.run(row);
      } catch (err) {
        // The row is damaged. The other tasks of this claim must still start.
        logger.error({ err, taskId: idOf(row.id), task: row.name }, 'a task could not be started');
      }
    }
    transitions.ofRows([...begun, ...expired]);
  }

  /**
   * Returns the write that returns claimed tasks to the queue if this process never learned of
   * them.
   */
  handBack(): WriteOf<'handBack'> {
    const { owner, clock } = this.#deps;
    return { kind: 'handBack', owner, held: this.#slots.held, at: clock.now() };
  }

  /** Cancels the attempts for which a cancellation was requested. */
  cancel(keys: readonly AttemptKey[]): void {
    this.#slots.cancel(keys);
  }

  /** Stops claiming tasks. */
  stopClaiming(): void {
    this.#claims = 'nothing';
  }

  /**
   * Waits up to `timeout` seconds for the running attempts, then returns the rest to the queue, as
   * if this process had died. Returns whether all of them ended in time.
   */
  async drain(timeout: number): Promise<boolean> {
    const { commits, logger } = this.#deps;
    // The tasks that an open batch has claimed count as running, too.
    await commits.settled();
    if (await this.#slots.drain(timeout)) return true;
    logger.warn({ running: this.#slots.size }, 'stopped while tasks were running');
    this.#slots.abortAll();
    // Handlers that obey their signal end now. If an attempt still succeeds, its success is stored.
    await this.#slots.drain(0.25);
    await this.#handBackRunning();
    return false;
  }

  /**
   * Returns running tasks to the queue. Ends that could not be stored go first, into the same
   * commit. Otherwise a finished task would end as interrupted if the file was locked for a long
   * time.
   */
  async #handBackRunning(): Promise<void> {
    const { owner, commits, transitions, clock, logger } = this.#deps;
    await commits.settled();
    this.#ends.retryNow();
    await new Promise<void>((resolve) => clock.nextTurn(resolve));
    try {
      const rows = await commits.submit({ kind: 'recover', owner, at: clock.now() });
      this.#slots.handedBack(new Map(rows.map(({ rowid, status }) => [rowid, stateOf(status)])));
      transitions.ofRows(rows);
    } catch (err) {
      const message =
        'running tasks could not be returned; another process returns them when this one ' +
        'has ended';
      if (!isReported(err)) logger.error({ err }, message);
    }
  }

  /** Stops storing ends, and writes the remaining output. */
  close(): void {
    this.#ends.close();
    this.#output.close();
    this.#slots.close();
  }
}
