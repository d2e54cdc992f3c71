import { randomUUID } from 'node:crypto';
import type { KeepJobs, RedisConnection } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Command } from '../../../tasks/commands.js';
import { backendArguments, EngineConnection } from '../connection/engine-connection.js';
import {
  type RedisScript,
  runScript,
  type ScriptValue,
  untilScriptRuns,
} from '../connection/redis-script.js';
import { keptEntries } from '../jobs/change-notes.js';
import { type JobRef, keyOf } from '../jobs/job-ids.js';
import type { JobState } from '../jobs/job-view.js';
import type { TaskJob } from '../jobs/task-job.js';
import { type EngineKeys, markers } from '../keys.js';
import { listedJob } from '../read/job-source.js';
import { StepBackend, type StepJob, type StepMove } from './step-backend.js';
import { recordOfEnd, recordOfRemoval } from './step-records.js';
import { type StepScript, textOfStep } from './step-scripts.js';
import { type StepPart, type StepParts, type StepRow, verdicts, wholeStep } from './whole-step.js';

/** The result of a command to one job. */
export interface StepAnswer {
  /** Whether the state of the job allowed the command. */
  done: boolean;
  /** The state that the job was in before. */
  state: JobState | 'gone';
  /** The job after the command, or before it was removed. */
  job: TaskJob | undefined;
  /**
   * What prevented the command, apart from the state of the job. For `look`: what could prevent it.
   */
  bond?: Bond | undefined;
}

/**
 * What can prevent a command on a job, apart from the job's state:
 * - `scheduler`: it is the next run of a BullMQ job scheduler
 * - `parent`: it has a parent in a flow
 * - `children`: it has children in a flow
 * - `duplicate`: another job has its deduplication id now
 * - `unfinished`: it has children in a flow that have not succeeded
 * - `locked`: a worker holds its lock although it has ended
 */
export type Bond = 'scheduler' | 'parent' | 'children' | 'duplicate' | 'unfinished' | 'locked';

interface JobStepsDeps {
  redis: Redis;
  keys: EngineKeys;
  /** Which failed jobs are kept, including cancelled ones. */
  kept: KeepJobs;
}

/** One step: the script that decides, and the script of BullMQ that follows. */
interface Step {
  script: StepScript;
  /** Unix milliseconds. Default: 0, for scripts that use no time. */
  at?: number;
  /** The value of the command for the script. */
  given?: string | number;
  move?(backend: StepBackend, job: StepJob): StepMove;
}

/** Steps that work while the memory of Redis is full. A removal makes room again. */
const needNoMemory: ReadonlySet<StepScript> = new Set(['remove', 'look', 'forget']);

/** The scripts of BullMQ on a connection, by name. BullMQ's types do not declare them. */
type BullmqScripts = Readonly<Record<string, { lua: string; numberOfKeys: number }>>;

/**
 * Runs commands on single jobs. Each is one script, so that Redis never executes it in half: our
 * part decides, BullMQ's part moves the job, and another part records what this means for our keys.
 */
export class JobSteps {
  readonly #deps: JobStepsDeps;
  readonly #connection: RedisConnection;
  readonly #backends = new Map<string, StepBackend>();
  readonly #scripts = new Map<string, RedisScript>();
  /** The scripts whose texts are on their way to Redis. */
  readonly #sending = new Set<RedisScript>();

  constructor(deps: JobStepsDeps) {
    this.#deps = deps;
    this.#connection = new EngineConnection(deps.redis);
  }

  /** Cancels a waiting job, or requests that a running one is cancelled. `by`: the user. */
  cancel(place: JobRef, at: number, by: string): Promise<StepAnswer> {
    return this.#step(place, {
      script: 'cancel',
      at,
      given: by,
      move: (backend, job) => backend.fail(job, this.#deps.kept),
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

  /** Returns the state of a job, and what else could prevent a command. */
  look(place: JobRef, action: Command['action']): Promise<StepAnswer> {
    return this.#step(place, { script: 'look', given: action });
  }

  /** Removes the request to cancel a job, if the job has ended. */
  forgetCancel(place: JobRef): Promise<StepAnswer> {
    return this.#step(place, { script: 'forget' });
  }

  /** Pauses or resumes a queue of BullMQ. */
  async setPaused(queue: string, isPaused: boolean): Promise<void> {
    await this.#connection.client;
    await untilScriptRuns(() => this.#backend(queue).pause(isPaused));
  }

  async #step(place: JobRef, step: Step): Promise<StepAnswer> {
    const { scriptsSet } = (await this.#connection.client) as unknown as {
      scriptsSet: BullmqScripts;
    };
    const { script, keys, args } = wholeStep(this.#partsOf(place, step, scriptsSet), this.#scripts);
    const row = await runScript(this.#deps.redis, script, keys, args, this.#sending);
    return answerOf(place, step, row as StepRow);
  }

  #partsOf(
    { queue, jobId }: JobRef,
    { script, at = 0, given = '', move }: Step,
    scripts: BullmqScripts,
  ): StepParts {
    const token = randomUUID();
    const { keys } = this.#deps;
    const { cancelling, changes, signals } = keys;
    const backend = this.#backend(queue);
    const marked = markers.map((marker) => keys.marked(queue, marker));
    const key = keyOf(queue, jobId);
    return {
      decide: {
        name: script,
        text: textOfStep(script),
        keys: [...marked, cancelling, changes, signals],
        args: [backend.toKey(''), jobId, token, at, key, keptEntries, given],
      },
      move: move && partOf(move(backend, { jobId, token, at }), scripts),
      record: this.#recordOf(script, { queue, jobId }, at),
      readsFirst: script === 'remove',
      needsMemory: !needNoMemory.has(script),
    };
  }

  #recordOf(script: StepScript, place: JobRef, at: number): StepPart | undefined {
    if (script === 'remove') return recordOfRemoval(this.#deps.keys, place);
    if (script !== 'cancel') return undefined;
    return recordOfEnd(this.#deps.keys, { ...place, marker: 'cancelled', at });
  }

  #backend(queue: string): StepBackend {
    let backend = this.#backends.get(queue);
    if (!backend) {
      const { redis, keys } = this.#deps;
      const args = backendArguments(this.#connection, keys.prefix, queue, { connection: redis });
      backend = new StepBackend(...args, undefined, false);
      this.#backends.set(queue, backend);
    }
    return backend;
  }
}

/** Returns a script of BullMQ as a part of a step. */
function partOf({ name, args }: StepMove, scripts: BullmqScripts): StepPart {
  const script = scripts[name];
  if (!script) throw new Error(`BullMQ has no script '${name}'`);
  const values = args.flat() as ScriptValue[];
  const { lua: text, numberOfKeys } = script;
  return { name, text, keys: values.slice(0, numberOfKeys), args: values.slice(numberOfKeys) };
}

/** Returns the result of a step from the answer of its script. */
function answerOf(
  { jobId }: JobRef,
  { script }: Step,
  [verdict, state, bond, moved, row]: StepRow,
): StepAnswer {
  if (moved < 0)
    throw new Error(`BullMQ answered ${moved} to '${script}' of a job in state '${state}'`);
  // BullMQ removes no job that is locked, such as one that another program has ended while it ran.
  const isLocked = script === 'remove' && verdict === verdicts.taken && moved === 0;
  return {
    done: verdict !== verdicts.refused && !isLocked,
    state: state as StepAnswer['state'],
    job: listedJob(jobId, row),
    bond: isLocked ? 'locked' : (bond as Bond) || undefined,
  };
}
