import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { EngineKeys } from '../keys.js';
import { send } from './pipelines.js';

/**
 * Detects that Redis has lost its data or has other data, for example after FLUSHALL or after a
 * restart without a file.
 */
export class DataMark {
  readonly #redis: Redis;
  readonly #key: string;
  #last: string | undefined;

  constructor(redis: Redis, keys: EngineKeys) {
    this.#redis = redis;
    this.#key = keys.dataMark;
  }

  /** Resolves to whether Redis has other data than at the last call. */
  async isOther(): Promise<boolean> {
    const [, mark] = await send(this.#redis, [
      ['set', this.#key, randomUUID(), 'NX'],
      ['get', this.#key],
    ]);
    const last = this.#last;
    this.#last = String(mark);
    return last !== undefined && last !== this.#last;
  }
}
