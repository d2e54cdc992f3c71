import type { Redis } from 'ioredis';
import { runInEmptyContext } from '../../../empty-context.js';
import { TaskflowError } from '../../../errors.js';
import { TurnoverSet } from '../../turnover.js';
import { hadNoEffect, isConnectionError } from './connections.js';
import type { RedisHealth } from './health.js';
import { answers, RedisTimeout, whenReady } from './redis-connection.js';
import { isAnswer } from './redis-errors.js';

/** What the error of a call says about its effect. */
export interface Effect {
  /** If it may have happened, in full or in part; see {@link CallProgress}. */
  maybe: string;
  /** If it has not happened. */
  none?: string;
  /** How many more milliseconds Redis may take, because the call is large. Default 0. */
  longer?: number;
}

/** The effect of storing tasks. */
export const storing: Effect = {
  maybe:
    'The tasks may have been stored anyway. Enqueue them again only with the same idempotencyKey.',
  none: 'Nothing was stored.',
};

/** The effect of a command of a user. */
export const commanding: Effect = {
  maybe: 'The command may have been carried out anyway, in full or in part.',
};

/**
 * How far a call has got. A call that has an effect reports it, so that its error can say whether
 * anything may have been done.
 */
export class CallProgress {
  #isSent = false;
  #isChanged = false;
  #isOver = false;

  /**
   * Called just before the first command of the effect is sent. Throws if the caller already got an
   * error, so that the effect does not follow the error.
   */
  readonly sending = (): void => {
    if (this.#isOver) throw hasStopped();
    this.#isSent = true;
  };

  /** Called when a part of the effect has happened and another part may still fail. */
  readonly changed = (): void => {
    this.#isChanged = true;
  };

  /** Ends the call with an error. Returns whether its effect may have happened, even in part. */
  fail(error: unknown): boolean {
    this.#isOver = true;
    return this.#isChanged || (this.#isSent && !hadNoEffect(error));
  }
}

/** Asks Redis within the time that one call may take. */
export type Ask = <T>(call: (progress: CallProgress) => Promise<T>, effect?: Effect) => Promise<T>;

/**
 * Waits for all steps of a call.
 *
 * @throws the error of a failed step, preferably of one that may have had an effect.
 */
export async function allSteps<T>(steps: readonly Promise<T>[]): Promise<T[]> {
  const settled = await Promise.allSettled(steps);
  const errors = settled.flatMap((step) => (step.status === 'rejected' ? [step.reason] : []));
  if (errors.length > 0) throw errors.find((error) => !hadNoEffect(error)) ?? errors[0];
  return settled.flatMap((step) => (step.status === 'fulfilled' ? [step.value] : []));
}

/** Milliseconds. */
const limits = {
  /** How long a call waits for any answer of Redis. */
  answer: 5000,
  /** How long a call waits for all of its own answers. */
  whole: 60_000,
  /** The time between two looks for calls that have waited too long. */
  look: 100,
  /** After this time without an answer, this process asks Redis whether it answers at all. */
  ask: 1000,
};

/** A call without an answer. */
interface OpenCall {
  /** Milliseconds since this process began. */
  readonly since: number;
  /** How many more milliseconds Redis may take, because the call is large. */
  readonly longer: number;
  fail(error: Error): void;
}

/** The calls of the users of an engine to Redis. */
export class RedisCalls {
  readonly #redis: Redis;
  readonly #health: RedisHealth;
  readonly #open = new TurnoverSet<OpenCall>();
  #timer: NodeJS.Timeout | undefined;
  /** When Redis last answered; milliseconds since this process began. */
  #answered = 0;
  #isAsking = false;
  #whenSettled: (() => void)[] = [];
  #closed = false;

  constructor(redis: Redis, health: RedisHealth) {
    this.#redis = redis;
    this.#health = health;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Rejects calls from now on. */
  close(): void {
    this.#closed = true;
  }

  /** Waits for the open calls. */
  async settled(): Promise<void> {
    if (this.#open.size > 0) await new Promise<void>((resolve) => this.#whenSettled.push(resolve));
  }

  /** Runs a call. Rejects with ENGINE_UNAVAILABLE if Redis fails. */
  readonly ask: Ask = async (call, effect) => {
    if (this.#closed) throw hasStopped();
    const progress = new CallProgress();
    try {
      if (this.#redis.status !== 'ready') await whenReady(this.#redis);
      // A process that only enqueues may never call start().
      if (!this.#health.isExamined) await this.#health.examine();
      return await this.#inTime(call(progress), effect?.longer);
    } catch (error) {
      const maybeDone = progress.fail(error);
      throw this.#health.unavailable(error, {
        maybeDone,
        effect: maybeDone ? effect?.maybe : effect?.none,
      });
    }
  };

  /**
   * Resolves to the answer of a call, or rejects if Redis answers nothing. A call of many steps may
   * take long on a busy machine although Redis answers. One timer serves all calls, because a timer
   * costs as much as a call.
   */
  #inTime<T>(answer: Promise<T>, longer = 0): Promise<T> {
    return new Promise((resolve, reject) => {
      const call: OpenCall = { since: performance.now(), longer, fail: reject };
      this.#open.add(call);
      this.#timer ??= runInEmptyContext(() => setInterval(() => this.#look(), limits.look));
      answer.then(
        (value) => {
          this.#end(call);
          resolve(value);
        },
        (error) => {
          this.#end(call);
          reject(error);
        },
      );
    });
  }

  #end(call: OpenCall): void {
    this.#open.delete(call);
    if (this.#open.size === 0) for (const resolve of this.#whenSettled.splice(0)) resolve();
  }

  #look(): void {
    const [oldest] = this.#open;
    if (!oldest) {
      clearInterval(this.#timer);
      this.#timer = undefined;
      return;
    }
    const now = performance.now();
    if (now - oldest.since > limits.ask) this.#ask();
    // Redis answers no call while it works on another one.
    let maxSilence = limits.answer;
    for (const { longer } of this.#open) maxSilence = Math.max(maxSilence, limits.answer + longer);
    // The calls are in the order in which they began.
    for (const call of this.#open) {
      const silence = now - Math.max(call.since, this.#answered);
      if (silence <= maxSilence && now - call.since <= limits.whole) return;
      this.#end(call);
      call.fail(new RedisTimeout(silence > maxSilence ? maxSilence : limits.whole));
    }
  }

  /** Sends a ping to learn whether Redis answers. */
  #ask(): void {
    if (this.#isAsking || this.#redis.status !== 'ready') return;
    this.#isAsking = true;
    void answers(this.#redis).then((isAnswered) => {
      this.#isAsking = false;
      if (isAnswered) this.#answered = performance.now();
    });
  }
}

/** Returns the error of a call after the stop. */
export function hasStopped(): TaskflowError {
  return new TaskflowError('ENGINE_UNAVAILABLE', 'the task manager has stopped', {
    detail: 'This process is stopping. Try again in a moment.',
  });
}

/** Ignores an error that says that Redis is unreachable, because the log already has it. */
export function unlessUnreachable(error: unknown): void {
  const isUnanswered =
    error instanceof TaskflowError && error.code === 'ENGINE_UNAVAILABLE' && !isAnswer(error.cause);
  if (!isUnanswered && !isConnectionError(error)) throw error;
}
