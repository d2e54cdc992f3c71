import type { Redis } from 'ioredis';
import type { ProcessInfo } from '../../../tasks/types.js';
import type { WorkerRow } from '../../this-process.js';
import { storedObject } from '../connection/stored-object.js';
import type { EngineKeys } from '../keys.js';

/** What a process says about itself. Times are Unix milliseconds. */
interface Instance extends WorkerRow {
  running: number;
  /** By the clock of Redis. */
  lastSeen: number;
}

/**
 * Milliseconds without a heartbeat after which a process is removed from the list. No task depends
 * on that list.
 */
export const forgottenAfter = 60_000;

/** The processes that have started this engine. */
export class Instances {
  readonly #redis: Redis;
  readonly #keys: EngineKeys;

  constructor(redis: Redis, keys: EngineKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** Tells the other processes about this one. `now`: the time of Redis. */
  async heartbeat(self: WorkerRow, running: number, now: number): Promise<void> {
    const instance: Instance = { ...self, running, lastSeen: now };
    await this.#redis.hset(this.#keys.instances, self.owner, JSON.stringify(instance));
  }

  /** Removes this process from the list. */
  async leave(owner: string): Promise<void> {
    await this.#redis.hdel(this.#keys.instances, owner);
  }

  /**
   * Lists the processes, and removes those without a heartbeat for a minute, and entries of another
   * form. `now`: the time of Redis.
   */
  async list(now: number): Promise<ProcessInfo[]> {
    const stored = await this.#redis.hgetall(this.#keys.instances);
    const alive: Instance[] = [];
    const gone: string[] = [];
    for (const [field, text] of Object.entries(stored)) {
      const instance = instanceOf(text);
      if (instance && now - instance.lastSeen <= forgottenAfter) alive.push(instance);
      else gone.push(field);
    }
    if (gone.length > 0) await this.#redis.hdel(this.#keys.instances, ...gone);
    return alive
      .sort((one, other) => one.startedAt - other.startedAt)
      .map((instance) => toWorker(instance, now));
  }
}

/** Parses an entry. Returns undefined if it does not say which process it is, or its times. */
function instanceOf(text: string): Instance | undefined {
  const instance = storedObject(text) as Partial<Instance>;
  const { owner, startedAt = Number.NaN, lastSeen } = instance;
  const isDate = Number.isFinite(new Date(startedAt).getTime());
  return typeof owner === 'string' && isDate && Number.isFinite(lastSeen)
    ? (instance as Instance)
    : undefined;
}

function toWorker(
  {
    owner,
    host,
    pid,
    version,
    slots,
    running,
    stuck,
    stuckAttempts,
    startedAt,
    lastSeen,
  }: Instance,
  now: number,
): ProcessInfo {
  // An entry in Redis may have other members, so each one is named.
  return {
    id: owner,
    host,
    pid,
    version,
    slots,
    running,
    stuck,
    stuckAttempts,
    startedAt: new Date(startedAt).toISOString(),
    lastSign: Math.max(0, now - lastSeen) / 1000,
  };
}
