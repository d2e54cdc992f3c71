import { RedisConnection } from 'bullmq';
import type { Redis } from 'ioredis';
import { lentConnection } from './connections.js';
import { oldestVersion } from './health.js';

/**
 * BullMQ's connection, without the INFO by which it asks for the version: if that fails once, such
 * as for a user whose permissions are not yet complete, BullMQ gives the connection up for good.
 * `RedisHealth` checks the version instead.
 */
export class EngineConnection extends RedisConnection {
  constructor(
    redis: Redis,
    extra: Readonly<ConstructorParameters<typeof RedisConnection>[1]> = lentConnection,
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
