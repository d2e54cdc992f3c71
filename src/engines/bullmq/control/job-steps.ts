import { randomUUID } from 'node:crypto';
import { type KeepJobs, QueueKeys, type RedisClient, type RedisConnection } from 'bullmq';
import type { Redis } from 'ioredis';
import { lentConnection } from '../connection/engine-connection.js';
import { plainError } from '../connection/redis-connection.js';
import { scriptTransaction } from '../connection/redis-script.js';
import { keptEntries } from '../jobs/change-notes.js';
import { type JobRef, keyOf } from '../jobs/job-ids.js';
import type { JobState } from '../jobs/job-view.js';
import type { TaskJob } from '../jobs/task-job.js';
import type { EngineKeys } from '../keys.js';
import { listedJob, listFields } from '../read/job-source.js';
import { StepBackend, type StepCommand, type StepJob } from './step-backend.js';
import { recordOfEnd, recordOfRemoval } from './step-records.js';
import { commandOf, defineSteps, lockScript, type StepScript } from './step-scripts.js';

/** The result of a command to one job. */
export interface StepAnswer {
  /** Whether the state of the job allowed the command. */
  done: boolean;
  /** The state that the job was in before. */
  state: JobState | 'gone';
  /** The job after the command, or before it was removed. */
  job: TaskJob | undefined;
  /** What the job belongs to, if that prevented the command or if the command was `look`. */
  bond?: Bond | undefined;
}

/**
 * What a job belongs to:
 * - `scheduler`: it is the next run of a BullMQ job scheduler
 * - `parent`: it has a parent in a flow
 * - `children`: it has children in a flow
 * - `duplicate`: another job has its deduplication id now
 * - `unfinished`: it has children in a flow that have not succeeded
 */
export type Bond = 'scheduler' | 'parent' | 'children' | 'duplicate' | 'unfinished';

interface JobStepsDeps {
  redis: Redis;
  keys: EngineKeys;
  /** Which failed jobs are kept, including cancelled ones. */
  kept: KeepJobs;
}

/** One step: the script that decides, and the commands of BullMQ that follow. */
interface Step {
  script: StepScript;
  /** Unix milliseconds. Default: 0, for scripts that use no time. */
  at?: number;
  /** The value of the command for the script. */
  given?: string | number;
  move?(backend: StepBackend, job: StepJob): StepCommand[];
}

/** A step, and the promise of its caller. */
interface Call {
  place: JobRef;
  step: Step;
  /** The value of the lock under which the job is moved. */
  token: string;
  resolve(answer: StepAnswer): void;
  reject(error: unknown): void;
}

/**
 * Maximum number of jobs per transaction. Redis does nothing else during a transaction, but a
 * transaction per job would cost this process more.
 */
const shared = 20;

/** Steps that work without a transaction, which Redis refuses if its memory is full. */
const needNoMemory: ReadonlySet<StepScript> = new Set(['remove', 'look']);

/** A connection or transaction of ioredis. BullMQ's types declare only part of it. */
type Target = Pick<Redis, 'eval' | 'hmget'> & {
  runCommand(name: string, args: unknown[]): unknown;
};

/** One command of a step. */
type Send = (target: Target) => unknown;

/** What Redis answered to a command of a transaction. */
type Answer = readonly [Error | null, unknown];

/**
 * Runs commands on single jobs. Each is part of one transaction: our script, which decides,
 * BullMQ's step, which moves the job, and a script that records what this means for our keys. Calls
 * in the same turn of the event loop share transactions and a round trip.
 */
export class JobSteps {
  readonly #redis: Redis;
  readonly #keys: EngineKeys;
  readonly #kept: KeepJobs;
  readonly #connection: RedisConnection;
  readonly #names: QueueKeys;
  readonly #backends = new Map<string, StepBackend>();
  readonly #process = randomUUID();
  #calls = 0;
  #waiting: Call[] = [];

  constructor({ redis, keys, kept }: JobStepsDeps) {
    this.#redis = redis;
    this.#keys = keys;
    this.#kept = kept;
    this.#names = new QueueKeys(keys.prefix);
    this.#connection = lentConnection(redis);
    defineSteps(redis);
  }

  /** Cancels a waiting job, or requests that a running one is cancelled. `by`: the user. */
  cancel(place: JobRef, at: number, by: string): Promise<StepAnswer> {
    return this.#step(place, {
      script: 'cancel',
      at,
      given: by,
      move: (backend, job) => backend.fail(job, this.#kept),
    });
  }

  /** Makes a failed job wait for a new series of attempts. `delay`: milliseconds. */
  retry(place: JobRef, at: number, delay: number): Promise<StepAnswer> {
    return this.#step(place, {
      script: 'retry',
      at,
      given: delay,
      move: (backend, job) => backend.sendBack(job, delay),
    });
  }

  /** Ends the delay of a job. */
  run(place: JobRef, at: number): Promise<StepAnswer> {
    return this.#step(place, { script: 'run', at, move: (backend, job) => backend.endDelay(job) });
  }

  /** Removes a job that has ended. */
  remove(place: JobRef): Promise<StepAnswer> {
    return this.#step(place, {
      script: 'remove',
      move: (backend, job) => backend.removeUnlocked(job),
    });
  }

  /** Stores the id of a job's rerun. */
  noteRerun(place: JobRef, rerunId: string): Promise<StepAnswer> {
    return this.#step(place, { script: 'rerun', given: rerunId });
  }

  /** Returns the state of a job, and what it belongs to. */
  look(place: JobRef): Promise<StepAnswer> {
    return this.#step(place, { script: 'look' });
  }

  /** Removes the request to cancel a job, if the job has ended. */
  forgetCancel(place: JobRef): Promise<StepAnswer> {
    return this.#step(place, { script: 'forget' });
  }

  /** Pauses or resumes a queue of BullMQ. */
  async setPaused(queue: string, isPaused: boolean): Promise<void> {
    await this.#connection.client;
    await this.#backend(queue).pause(isPaused);
  }

  #step(place: JobRef, step: Step): Promise<StepAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.length === 0) setImmediate(() => this.#flush());
      this.#calls += 1;
      this.#waiting.push({
        place,
        step,
        token: `${this.#process}:${this.#calls}`,
        resolve,
        reject,
      });
    });
  }

  #flush(): void {
    const calls = this.#waiting.splice(0);
    for (let from = 0; from < calls.length; from += shared)
      void this.#send(calls.slice(from, from + shared));
  }

  async #send(calls: readonly Call[]): Promise<void> {
    try {
      const client = await this.#connection.client;
      await this.#execute(client, calls);
    } catch (error) {
      // If its memory is full, Redis refuses every transaction, and deletions make room again.
      const isFull = plainError(error).message.startsWith('OOM');
      for (const call of calls)
        if (isFull && needNoMemory.has(call.step.script)) void this.#sendApart(call);
        else call.reject(error);
    }
  }

  /**
   * Executes steps in one transaction. It contains the scripts, because a step must not be executed
   * in half if Redis lacks one of them.
   */
  async #execute(client: RedisClient, calls: readonly Call[]): Promise<void> {
    const transaction = scriptTransaction(client, true);
    const commands = calls.map((call) => this.#commandsOf(call));
    for (const send of commands.flat()) send(transaction as unknown as Target);
    const answers = await transaction.exec();
    if (!answers) throw new Error('the transaction was dropped');
    let at = 0;
    for (const [n, call] of calls.entries()) {
      const own = answers.slice(at, at + (commands[n]?.length ?? 0));
      at += own.length;
      settle(call, own);
    }
  }

  /** Sends the commands of a step one by one. */
  async #sendApart(call: Call): Promise<void> {
    try {
      const client = (await this.#connection.client) as unknown as Target;
      const answers: Answer[] = [];
      for (const send of this.#commandsOf(call)) answers.push([null, await send(client)]);
      settle(call, answers);
    } catch (error) {
      call.reject(error);
    }
  }

  /** The commands of a step. */
  #commandsOf(call: Call): Send[] {
    const { place, token, step } = call;
    const { queue, jobId } = place;
    const scripts = this.#scriptsOf(call);
    const read: Send = (target) => target.hmget(this.#keys.ofQueue(queue, jobId), ...listFields);
    switch (step.script) {
      case 'remove': {
        const lock = this.#keys.ofQueue(queue, `${jobId}:lock`);
        const takeLock: Send = (target) =>
          target.eval(lockScript, 2, this.#keys.cancelling, lock, token);
        // A job must be read before it is removed.
        return [read, takeLock, ...scripts, recordOfRemoval(this.#keys, place)];
      }
      case 'cancel':
        return [
          ...scripts,
          recordOfEnd(this.#keys, { ...place, marker: 'cancelled', at: step.at ?? 0 }),
          read,
        ];
      default:
        return [...scripts, read];
    }
  }

  /** Our script that decides, and BullMQ's scripts that follow. */
  #scriptsOf({
    place: { queue, jobId },
    token,
    step: { script, at = 0, given = '', move },
  }: Call): Send[] {
    const { cancelling, changes, signals } = this.#keys;
    const backend = this.#backend(queue);
    const keys = [
      this.#keys.marked(queue, 'cancelled'),
      this.#keys.marked(queue, 'interrupted'),
      cancelling,
      changes,
      signals,
    ];
    const args = [backend.toKey(''), jobId, token, at, keyOf(queue, jobId), keptEntries, given];
    const moves = move?.(backend, { jobId, token, at }) ?? [];
    return [
      (target) => target.runCommand(commandOf(script), [...keys, ...args]),
      ...moves.map(
        ({ name, args: own }): Send =>
          (target) =>
            backend.execCommand(target as never, name, own),
      ),
    ];
  }

  #backend(queue: string): StepBackend {
    let backend = this.#backends.get(queue);
    if (!backend) {
      const [keys, toKey] = [
        this.#names.getKeys(queue),
        (type: string) => this.#names.toKey(queue, type),
      ];
      backend = new StepBackend(
        this.#connection,
        queue,
        keys,
        toKey,
        { connection: this.#redis },
        undefined,
        false,
      );
      this.#backends.set(queue, backend);
    }
    return backend;
  }
}

function settle(call: Call, answers: readonly Answer[]): void {
  try {
    const values = answers.map(([error, value]) => {
      if (error) throw error;
      return value;
    });
    call.resolve(answerOf(call, values));
  } catch (error) {
    call.reject(error);
  }
}

/** Returns the result of a step from the answers to its commands. */
function answerOf(
  { place: { jobId }, step: { script } }: Call,
  answers: readonly unknown[],
): StepAnswer {
  const isRemoval = script === 'remove';
  const decided = isRemoval ? 2 : 0;
  const [verdict, state, bond] = answers[decided] as [number, StepAnswer['state'], Bond | ''];
  const moved = answers[decided + 1];
  if (verdict === verdicts.taken && typeof moved === 'number' && moved < 0)
    throw new Error(`BullMQ answered ${moved} to '${script}' of a job in state '${state}'`);
  const row = answers[isRemoval ? 0 : answers.length - 1] as (string | null)[];
  return {
    done: verdict !== verdicts.refused,
    state,
    job: listedJob(jobId, row),
    bond: bond || undefined,
  };
}

/**
 * What a script answers: the state forbids the command, BullMQ's step follows, or the process that
 * runs the job does the rest.
 */
const verdicts = { refused: 0, taken: 1, asked: 2 };
