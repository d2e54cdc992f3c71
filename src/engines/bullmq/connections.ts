import type { Redis } from 'ioredis';
import { writeOncePerTurn } from './one-write.js';
import { connectRedis, type RedisConnection } from './redis-connection.js';

/** The two connections of an engine that do not wait for jobs. */
export interface Connections {
  /** For callers: a command fails soon if Redis is unreachable. */
  asking: Redis;
  /** For workers: a command waits until Redis is back, so that the end of an attempt is not lost. */
  patient: Redis;
}

/** Opens the connections of an engine. @throws TypeError for what is no connection. */
export function openConnections(connection: RedisConnection): Connections {
  const asking = connectRedis(connection);
  const patient = asking.duplicate({
    enableOfflineQueue: true,
    maxRetriesPerRequest: null,
    autoResendUnfulfilledCommands: true,
    lazyConnect: true,
  });
  patient.on('error', () => {});
  for (const redis of [asking, patient]) writeOncePerTurn(redis);
  return { asking, patient };
}

/**
 * Repeats what Redis did not answer, until it does or this process closes the connection. What is repeated may have been executed
 * before: the caller must notice that. Answers that Redis gives while it cannot write are repeated too.
 */
export async function persistently<T>(redis: Redis, work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (redis.status === 'end' || !isPassing(error)) throw error;
      await untilBetter(redis);
    }
  }
}

/** Answers of Redis that another try may not get: it starts, has no memory or disk left, changes its role, or lacks a permission. */
const passing = /\b(LOADING|READONLY|OOM|MISCONF|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|BUSY|NOAUTH|NOPERM|WRONGPASS)\b/;

/** Whether an error says nothing about what was asked. */
export function isPassing(error: unknown): boolean {
  return !isAnswer(error) || passing.test(error.message);
}

/** Whether Redis itself answered with this error. */
function isAnswer(error: unknown): error is Error {
  return error instanceof Error && error.name === 'ReplyError';
}

/** Milliseconds before another try if the connection is there. */
const retryDelay = 1000;

/** Waits until the connection is back; a moment, if it never went away. */
function untilBetter(redis: Redis): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      redis.off('ready', done).off('end', done);
      resolve();
    };
    const timer = redis.status === 'ready' ? setTimeout(done, retryDelay) : undefined;
    redis.on('ready', done).on('end', done);
  });
}
