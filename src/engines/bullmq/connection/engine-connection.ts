import { type QueueBaseOptions, QueueKeys, RedisConnection } from 'bullmq';
import type { Redis } from 'ioredis';
import { oldestVersion } from './health.js';

/** How BullMQ uses a connection that it does not own: it only defines its scripts. */
const lent = { shared: true, blocking: false, skipWaitingForReady: true };

/**
 * BullMQ's connection, without the INFO by which it asks for the version: if that fails once, such
 * as for a user whose permissions are not yet complete, BullMQ gives the connection up for good.
 * `RedisHealth` checks the version instead.
 *
 * @param extra How BullMQ uses the connection. Default: BullMQ does not own it.
 */
export class EngineConnection extends RedisConnection {
  constructor(
    redis: Redis,
    extra: Readonly<ConstructorParameters<typeof RedisConnection>[1]> = lent,
  ) {
    super(redis, { ...extra, skipVersionCheck: true });
    // Each command reports its own failure.
    this.on('error', () => undefined);
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

/** Returns what BullMQ's backend of a queue is created with. Further arguments may follow. */
export function backendArguments(
  connection: RedisConnection,
  prefix: string,
  queue: string,
  opts: QueueBaseOptions,
) {
  const names = new QueueKeys(prefix);
  const toKey = (type: string): string => names.toKey(queue, type);
  return [connection, queue, names.getKeys(queue), toKey, opts] as const;
}
