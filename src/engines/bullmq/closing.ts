import type { Redis } from 'ioredis';

/** Milliseconds that a stop waits for BullMQ's workers to close. */
export const closeTimeout = 5000;
/** Milliseconds between two looks at the connection. */
const pollInterval = 100;

interface Closing {
  /** Resolves when the workers are closed. */
  closed: Promise<unknown>;
  /** The connection of the workers. */
  redis: Redis;
  /** Milliseconds to wait at most. */
  timeout: number;
  /** Whether nothing that these workers must still write is in hand. */
  isIdle(): boolean;
}

/**
 * Waits until workers are closed. Resolves to whether they are. Idle workers count as closed if Redis is gone: without it,
 * BullMQ's worker ends only after its connection.
 */
export async function untilClosed({ closed, redis, timeout, isIdle }: Closing): Promise<boolean> {
  const end = Date.now() + timeout;
  const isClosed = closed.then(() => true);
  while (Date.now() < end) {
    if (redis.status !== 'ready' && isIdle()) return true;
    if (await Promise.race([isClosed, sleep(Math.min(pollInterval, end - Date.now())).then(() => false)])) return true;
  }
  return false;
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
