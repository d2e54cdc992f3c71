import type { Redis } from 'ioredis';
import { withinTime } from '../redis-connection.js';

/** Milliseconds that Redis is waited for. */
const longestAnswer = 5000;

/**
 * Whether a missing lock means that its worker died. It does not after an outage: the locks expired because no worker could renew
 * them, and workers need time to take them again. So nothing counts as crashed until Redis, the connection to it and this process
 * have worked for the lifetime of one lock without a break.
 */
export class Steadiness {
  readonly #redis: Redis;
  readonly #lockDuration: number;
  /** When the present time without a break began, in Unix milliseconds. */
  #since = Date.now();
  #lastCheck = Date.now();
  #runId: string | undefined;
  /** Notes a break. */
  readonly restart = (): void => {
    this.#since = Date.now();
  };

  constructor(redis: Redis, lockDuration: number) {
    this.#redis = redis;
    this.#lockDuration = lockDuration;
    redis.on('close', this.restart).on('ready', this.restart);
  }

  /** Longest time between two checks: a pause of Redis or of this process that makes locks expire shows between them. */
  get longestInterval(): number {
    return this.#lockDuration / 4;
  }

  async isSteady(): Promise<boolean> {
    const asked = Date.now();
    const pause = asked - this.#lastCheck;
    // The clock of a host that slept, or of a process that was stopped, has jumped.
    if (pause < 0 || pause > this.#lockDuration / 2) this.restart();
    this.#lastCheck = asked;
    const info = await withinTime(this.#redis.info('server'), longestAnswer);
    this.#lastCheck = Date.now();
    const took = this.#lastCheck - asked;
    if (took < 0 || took > this.longestInterval) this.restart();
    const runId = fieldOf(info, 'run_id');
    if (this.#runId !== undefined && runId !== this.#runId) this.restart();
    this.#runId = runId;
    const uptime = Number(fieldOf(info, 'uptime_in_seconds') ?? 0) * 1000;
    return uptime >= this.#lockDuration && Date.now() - this.#since >= this.#lockDuration;
  }

  close(): void {
    this.#redis.off('close', this.restart).off('ready', this.restart);
  }
}

function fieldOf(info: string, name: string): string | undefined {
  return new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(info)?.[1];
}
