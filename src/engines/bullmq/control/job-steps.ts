import { randomUUID } from 'node:crypto';
import { type KeepJobs, QueueKeys, RedisConnection } from 'bullmq';
import type { Redis } from 'ioredis';
import { lentConnection } from '../connection/connections.js';
import { plainError } from '../connection/redis-connection.js';
import { isForgotten } from '../connection/redis-script.js';
import { keptEntries } from '../jobs/change-notes.js';
import { sendMarker } from '../jobs/end-marker.js';
import { type JobRef, keyOf } from '../jobs/job-ids.js';
import type { JobState } from '../jobs/job-view.js';
import type { TaskJob } from '../jobs/task-job.js';
import type { EngineKeys } from '../keys.js';
import { jobOfRow, listFields } from '../read/job-source.js';
import { StepBackend, type StepCommand, type StepJob } from './step-backend.js';
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

interface JobStepsParts {
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
  resolve(answer: StepAnswer): void;
  reject(error: unknown): void;
}

/**
 * Maximum number of jobs per transaction. Redis does nothing else during a transaction, but a
 * transaction per job would cost this process more.
 */
const shared = 20;

/** A connection or transaction of ioredis. BullMQ's types declare only part of it. */
type Target = Pick<Redis, 'eval' | 'hmget'> & { runCommand(name: string, args: unknown[]): unknown };

/** One command of a step. */
type Send = (target: Target) => unknown;

/** A step that was sent. */
interface Sent {
  call: Call;
  /** The connection that sends commands again. */
  target: Target;
  commands: readonly Send[];
}

/**
 * Runs commands on single jobs. Each is part of one transaction: our script, which decides, and
 * BullMQ's step, which moves the job. Calls in the same turn of the event loop share transactions
 * and a round trip.
 */
export class JobSteps {
  readonly #redis: Redis;
  readonly #keys: EngineKeys;
  readonly #kept: KeepJobs;
  readonly #connection: RedisConnection;
  readonly #names: QueueKeys;
  readonly #backends = new Map<string, StepBackend>();
  /** The value of the lock under which a job is moved. */
  readonly #token = randomUUID();
  #waiting: Call[] = [];

  constructor({ redis, keys, kept }: JobStepsParts) {
    this.#redis = redis;
    this.#keys = keys;
    this.#kept = kept;
    this.#names = new QueueKeys(keys.prefix);
    this.#connection = new RedisConnection(redis, lentConnection);
    this.#connection.on('error', () => undefined);
    defineSteps(redis);
  }

  /** Cancels a waiting job, or requests that a running one is cancelled. `by`: the user. */
  cancel(place: JobRef, at: number, by: string): Promise<StepAnswer> {
    return this.#step(place, { script: 'cancel', at, given: by, move: (backend, job) => backend.fail(job, this.#kept) });
  }

  /** Makes a failed job wait for a new series of attempts. `delay`: milliseconds. */
  retry(place: JobRef, at: number, delay: number): Promise<StepAnswer> {
    return this.#step(place, { script: 'retry', at, given: delay, move: (backend, job) => backend.sendBack(job, delay) });
  }

  /** Ends the delay of a job. */
  run(place: JobRef, at: number): Promise<StepAnswer> {
    return this.#step(place, { script: 'run', at, move: (backend, job) => backend.endDelay(job) });
  }

  /** Removes a job that has ended. */
  remove(place: JobRef): Promise<StepAnswer> {
    return this.#step(place, { script: 'remove', move: (backend, job) => backend.removeUnlocked(job) });
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
      this.#waiting.push({ place, step, resolve, reject });
    });
  }

  #flush(): void {
    const calls = this.#waiting.splice(0);
    for (let from = 0; from < calls.length; from += shared) void this.#send(calls.slice(from, from + shared));
  }

  async #send(calls: readonly Call[]): Promise<void> {
    const sent: Sent[] = [];
    try {
      const client = await this.#connection.client;
      for (const call of calls) sent.push({ call, target: client as unknown as Target, commands: this.#commandsOf(call) });
      const transaction = client.multi();
      for (const send of sent.flatMap(({ commands }) => commands)) send(transaction as unknown as Target);
      const answers = await transaction.exec();
      if (!answers) throw new Error('the transaction was dropped');
      let at = 0;
      for (const step of sent) {
        const own = answers.slice(at, at + step.commands.length);
        at += step.commands.length;
        settle(step, this.#complete(step, own));
      }
    } catch (error) {
      // If its memory is full, Redis refuses every transaction, and deletions make room again.
      const isFull = sent.length > 0 && plainError(error).message.startsWith('OOM');
      for (const step of sent)
        if (isFull && step.call.step.script === 'remove') settle(step, sendApart(step, []));
        else step.call.reject(error);
      if (sent.length === 0) for (const { reject } of calls) reject(error);
    }
  }

  /** The commands of a step. */
  #commandsOf({ place, step: { script, at = 0, given = '', move } }: Call): Send[] {
    const { queue, jobId } = place;
    const { cancelling, changes, signals } = this.#keys;
    const backend = this.#backend(queue);
    const read: Send = (target) => target.hmget(backend.toKey(jobId), ...listFields);
    const keys = [this.#keys.marked(queue, 'cancelled'), this.#keys.marked(queue, 'interrupted'), cancelling, changes, signals];
    const lock: Send = (target) => target.eval(lockScript, 2, cancelling, backend.toKey(`${jobId}:lock`), this.#token);
    const args = [backend.toKey(''), jobId, this.#token, at, keyOf(queue, jobId), keptEntries, given];
    const decide: Send = (target) => target.runCommand(commandOf(script), [...keys, ...args]);
    const moves = move?.(backend, { jobId, token: this.#token, at }) ?? [];
    const sent = moves.map(
      ({ name, args: own }): Send =>
        (target) =>
          backend.execCommand(target as never, name, own),
    );
    // A job must be read before it is removed.
    if (script === 'remove') return [read, lock, decide, ...sent];
    const mark: Send = (target) => sendMarker(target, this.#keys, { queue, jobId, marker: 'cancelled', at });
    return script === 'cancel' ? [decide, ...sent, mark, read] : [decide, ...sent, read];
  }

  /**
   * Returns the answers to the commands of a step. If Redis no longer has a script, that command
   * and those after it are sent again one by one, because ioredis sends the text of a missing
   * script only outside of a transaction. A removal starts again from its first command, because
   * its lock may already be released. A cancellation sends its step and its marker in another
   * transaction.
   */
  async #complete(sent: Sent, answers: readonly [Error | null, unknown][]): Promise<unknown[]> {
    const failed = answers.find(([error]) => error !== null && !isForgotten(error))?.[0];
    if (failed) throw failed;
    const all = answers.map(([, value]) => value);
    const first = answers.findIndex(([error]) => isForgotten(error));
    if (first < 0) return all;
    if (sent.call.step.script === 'cancel') return this.#cancelAgain(sent, first > 0 ? answers.slice(0, 1) : undefined);
    return sendApart(sent, sent.call.step.script === 'remove' ? [] : all.slice(0, first));
  }

  /**
   * Completes a cancellation whose scripts Redis lacked. `decided`: the answer of our script, unless
   * it was missing too.
   */
  async #cancelAgain(sent: Sent, decided?: readonly [Error | null, unknown][]): Promise<unknown[]> {
    const { target, call } = sent;
    const [decide, ...rest] = sent.commands;
    const before = decided ?? [[null, await decide?.(target)]];
    const client = await this.#connection.client;
    // No job has this id, so this only makes Redis load BullMQ's script.
    const backend = this.#backend(call.place.queue);
    for (const { name, args } of backend.fail({ jobId: '', token: '', at: 0 }, this.#kept)) await backend.execCommand(client, name, args);
    const transaction = client.multi();
    for (const send of rest) send(transaction as unknown as Target);
    const answers = await transaction.exec();
    if (!answers) throw new Error('the transaction was dropped');
    return this.#complete(sent, [...before, ...answers]);
  }

  #backend(queue: string): StepBackend {
    let backend = this.#backends.get(queue);
    if (!backend) {
      const [keys, toKey] = [this.#names.getKeys(queue), (type: string) => this.#names.toKey(queue, type)];
      backend = new StepBackend(this.#connection, queue, keys, toKey, { connection: this.#redis }, undefined, false);
      this.#backends.set(queue, backend);
    }
    return backend;
  }
}

/** Sends commands of a step one by one, after those that are answered. Returns all answers. */
async function sendApart({ target, commands }: Sent, answered: readonly unknown[]): Promise<unknown[]> {
  const all = [...answered];
  for (const send of commands.slice(answered.length)) all.push(await send(target));
  return all;
}

function settle({ call }: Sent, answers: Promise<unknown[]>): void {
  answers.then((all) => call.resolve(answerOf(call, all))).catch(call.reject);
}

/** Returns the result of a step from the answers to its commands. */
function answerOf({ place: { jobId }, step: { script } }: Call, answers: readonly unknown[]): StepAnswer {
  const isRemoval = script === 'remove';
  const decided = isRemoval ? 2 : 0;
  const [verdict, state, bond] = answers[decided] as [number, StepAnswer['state'], Bond | ''];
  const moved = answers[decided + 1];
  if (verdict === verdicts.taken && typeof moved === 'number' && moved < 0)
    throw new Error(`BullMQ answered ${moved} to '${script}' of a job in state '${state}'`);
  const row = answers[isRemoval ? 0 : answers.length - 1] as (string | null)[];
  return { done: verdict !== verdicts.refused, state, job: jobOfRow(jobId, row), bond: bond || undefined };
}

/**
 * What a script answers: the state forbids the command, BullMQ's step follows, or the process that
 * runs the job does the rest.
 */
const verdicts = { refused: 0, taken: 1, asked: 2 };
