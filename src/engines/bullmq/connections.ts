import type { Redis } from 'ioredis';
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
  return { asking, patient };
}
