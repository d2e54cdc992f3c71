import { RedisConnection } from 'bullmq';
import type { Redis } from 'ioredis';
import { oldestVersion } from './health.js';

/**
 * How BullMQ uses a connection that it does not own: it only defines its scripts. It does not ask
 * for the version, because `RedisHealth` does.
 */
const lent = {
  shared: true,
  blocking: false,
  skipVersionCheck: true,
  skipWaitingForReady: true,
} as const;

/**
 * BullMQ's connection, without the INFO by which it asks for the version: if that fails once, such
 * as for a user whose permissions are not yet complete, BullMQ gives the connection up for good.
 * `RedisHealth` checks the version instead.
 */
export class EngineConnection extends RedisConnection {
  constructor(
    redis: Redis,
    extra: Readonly<ConstructorParameters<typeof RedisConnection>[1]> = lent,
  ) {
    super(redis, { ...extra, skipVersionCheck: true });
    const isSet = this.client.then(() => {
      // Redis has this since 6.0. Without it, BullMQ would wait in whole seconds for delayed jobs.
      this.capabilities = { ...this.capabilities, canDoubleTimeout: true };
    });
    // BullMQ reports this error.
    isSet.catch(() => undefined);
  }

  /** BullMQ uses slower scripts for versions that this package refuses. */
  override get redisVersion(): string {
    return `${oldestVersion.join('.')}.0`;
  }
}

/** Returns BullMQ's form of a connection that BullMQ does not own, with BullMQ's scripts. */
export function lentConnection(redis: Redis): RedisConnection {
  const connection = new RedisConnection(redis, lent);
  // Each command reports its own failure.
  connection.on('error', () => undefined);
  return connection;
}
