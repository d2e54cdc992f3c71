import type { Redis } from 'ioredis';
import { answers, withinTime } from './redis-connection.js';

/** Milliseconds that a stop waits for BullMQ's workers to close. */
const closeTimeout = 5000;
/** Milliseconds between two checks of the connection. */
const pollInterval = 100;
/**
 * Milliseconds without an answer after which Redis counts as unreachable although its connections
 * are open.
 */
const answerTimeout = 2000;

interface Closing {
  /** Resolves when the workers are closed. It must not reject. */
  closed: Promise<unknown>;
  /** The connection of the workers. */
  redis: Redis;
  /** Milliseconds to wait at most. Default 5,000. */
  timeout?: number;
  /**
   * Whether nothing is to be written, so that the workers can be abandoned if Redis is unreachable.
   * Default: they can always be abandoned.
   */
  isIdle?(): boolean;
}

/**
 * Waits until workers are closed. Resolves to whether they are. If Redis is unreachable, idle
 * workers count as closed, because BullMQ's worker then ends only after its connection.
 */
export async function untilClosed({
  closed,
  redis,
  timeout = closeTimeout,
  isIdle = () => true,
}: Closing): Promise<boolean> {
  const end = Date.now() + timeout;
  const isClosed = closed.then(() => true);
  let isReachable = redis.status === 'ready';
  // If Redis hangs, its connections stay open.
  if (isReachable)
    void withinTime(answers(redis), answerTimeout)
      .catch(() => false)
      .then((isAnswering) => {
        isReachable = isAnswering;
      });
  while (Date.now() < end) {
    if ((redis.status !== 'ready' || !isReachable) && isIdle()) return true;
    if (await withinTime(isClosed, Math.min(pollInterval, end - Date.now())).catch(() => false))
      return true;
  }
  return false;
}
