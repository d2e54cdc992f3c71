import { isReported } from '../../../errors.js';
import type { Logger } from '../../../options.js';
import type { TaskRunner } from '../../../tasks/task-runner.js';
import type { Stuck } from '../../stuck-attempts.js';
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

interface ExecutorParts {
  /** This process. */
  owner: string;
  runner: TaskRunner;
  commits: GroupCommit;
  transitions: Transitions;
  clock: Clock;
  logger: Logger;
  /**
   * Called when the number of slots changes that are held by handlers whose attempt was given up.
   */
  stuckChanged(stuck: Stuck): void;
}

/*
 * The parts that run tasks work together as follows:
 * 1. Something wakes `GroupCommit`: a slot is free, a task was stored, its time has come
 *    (`ClaimTimer`), another process wrote.
 * 2. The next commit asks `claim` how many tasks this process can take, and takes them in the same
 *    transaction.
 * 3. `begin` gives each claimed task to `Slots`, which calls the runner and holds the slot until
 *    the handler ends.
 * 4. While it runs, `OutputWriter` gathers its log lines and progress and writes them every 50 ms.
 * 5. `EndRecorder` stores how it ended. Its slot can be filled by the commit that stores the end.
 */

/** Claims tasks for this process and runs them. */
export class Executor {
  readonly #parts: ExecutorParts;
  readonly #slots: Slots;
  readonly #ends: EndRecorder;
  readonly #output: OutputWriter;
  /**
   * What commits may claim for this process: nothing, one task once, or whatever slots are free
   * for.
   */
  #claims: 'nothing' | 'one' | 'all' = 'nothing';
  /** Tasks that commits have claimed or ended as expired since `runOne` was called. */
  #found = 0;

  constructor(parts: ExecutorParts) {
    this.#parts = parts;
    const { owner, runner, commits, transitions, clock, logger, stuckChanged } = parts;
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
    this.#parts.commits.wake();
  }

  /** Whether it claims tasks by itself. */
  get isStarted(): boolean {
    return this.#claims === 'all';
  }

  /**
   * Claims one task, if any is due, and runs it until its end is stored. Returns whether there was
   * one. For an executor that is not started.
   */
  async runOne(): Promise<boolean> {
    const { commits } = this.#parts;
    this.#found = 0;
    this.#claims = 'one';
    commits.wake();
    await commits.idle();
    while (this.#slots.active > 0) await this.#slots.ended();
    return this.#found > 0;
  }

  /** Writes what attempts have logged, without waiting for more. */
  flush(): void {
    this.#output.write();
  }

  /**
   * Returns what the next commit claims. `reserved`: how many tasks the open commits may still
   * claim.
   */
  claim(reserved: number): Claim | undefined {
    const { owner, runner, clock } = this.#parts;
    const limit = { nothing: 0, one: 1, all: this.#slots.free - reserved }[this.#claims];
    if (this.#claims === 'one') this.#claims = 'nothing';
    return limit > 0 ? { owner, names: [...runner.names()], limit, at: clock.now() } : undefined;
  }

  /** Runs what a commit has claimed. */
  begin({ claimed, begun, expired }: Pick<BatchResult, 'claimed' | 'begun' | 'expired'>): void {
    const { transitions, logger } = this.#parts;
    this.#found += claimed.length + expired.length;
    for (const row of claimed) {
      const [, id, task] = row;
      try {
        this.#slots.run(row);
      } catch (err) {
        // The row is damaged. The other tasks of this claim must not wait for it.
        logger.error({ err, taskId: idOf(id), task }, 'a task could not be started');
      }
    }
    transitions.ofRows([...begun, ...expired]);
  }

  /** The write that hands back what this process has claimed without knowing it. */
  handBack(): WriteOf<'handBack'> {
    const { owner, clock } = this.#parts;
    return { kind: 'handBack', owner, held: this.#slots.held, at: clock.now() };
  }

  /** Cancels attempts that the database says are to be cancelled: all of them, or none. */
  cancel(keys: readonly AttemptKey[]): void {
    this.#slots.cancel(keys);
  }

  /** Claims no more tasks. */
  stopClaiming(): void {
    this.#claims = 'nothing';
  }

  /**
   * Waits up to `timeout` seconds for the running attempts. Those that do not end are handed back,
   * as if this process had died. Returns whether all of them ended.
   */
  async drain(timeout: number): Promise<boolean> {
    const { commits, logger } = this.#parts;
    // What a batch under way has claimed belongs to what runs.
    await commits.settled();
    if (await this.#slots.drain(timeout)) return true;
    logger.warn({ running: this.#slots.size }, 'stopped while tasks were running');
    this.#slots.abortAll();
    // Handlers that obey their signal end now; one that still succeeds is recorded so.
    await this.#slots.drain(0.25);
    await this.#handBackRunning();
    return false;
  }

  /**
   * Hands back what runs. Ends that could not be recorded go into the same commit before it, so
   * that a lock which is held on the file for long makes no finished task an interrupted one.
   */
  async #handBackRunning(): Promise<void> {
    const { owner, commits, transitions, clock, logger } = this.#parts;
    await commits.settled();
    this.#ends.retryNow();
    await new Promise<void>((resolve) => clock.nextTurn(resolve));
    try {
      const rows = await commits.submit<'recover'>({ kind: 'recover', owner, at: clock.now() });
      this.#slots.handedBack(
        new Map(rows.map(({ seq, status }) => [Number(seq), stateOf(status)])),
      );
      transitions.ofRows(rows);
    } catch (err) {
      const message =
        'tasks that ran could not be handed back; another process does that once this one has ' +
        'ended';
      if (!isReported(err)) logger.error({ err }, message);
    }
  }

  /** Tries no end again, and writes no output but the last. */
  close(): void {
    this.#ends.close();
    this.#output.close();
    this.#slots.close();
  }
}
