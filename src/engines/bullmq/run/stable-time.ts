import type { Redis } from 'ioredis';
import { withinTime } from '../connection/redis-connection.js';
import { infoField } from '../connection/redis-info.js';

/** Milliseconds for which Redis may take to answer. */
const longestAnswer = 5000;

/**
 * Tells whether a missing lock means that its worker died. After an outage it does not: the locks
 * expired because no worker could renew them, and workers need time to take them again. So no job
 * counts as crashed until Redis, the connection to it and this process have worked without an
 * interruption for as long as a lock lasts.
 */
export class StableTime {
  readonly #redis: Redis;
  readonly #lockDuration: number;
  /** When the present time without an interruption began, in Unix milliseconds. */
  #since = Date.now();
  #lastCheck = Date.now();
  #runId: string | undefined;
  /** Begins a new time without an interruption. */
  readonly restart = (): void => {
    this.#since = Date.now();
  };

  constructor(redis: Redis, lockDuration: number) {
    this.#redis = redis;
    this.#lockDuration = lockDuration;
    redis.on('close', this.restart).on('ready', this.restart);
  }

  /**
   * Longest time between two checks. A pause of Redis or of this process that makes locks expire is
   * longer, so a check notices it.
   */
  get longestInterval(): number {
    return this.#lockDuration / 4;
  }

  async isSteady(): Promise<boolean> {
    const asked = Date.now();
    const pause = asked - this.#lastCheck;
    // The clock has jumped: the host slept, or the process was stopped.
    if (pause < 0 || pause > this.#lockDuration / 2) this.restart();
    this.#lastCheck = asked;
    const info = await withinTime(this.#redis.info('server'), longestAnswer);
    this.#lastCheck = Date.now();
    const took = this.#lastCheck - asked;
    if (took < 0 || took > this.longestInterval) this.restart();
    const runId = infoField(info, 'run_id');
    if (this.#runId !== undefined && runId !== this.#runId) this.restart();
    this.#runId = runId;
    const uptime = Number(infoField(info, 'uptime_in_seconds') ?? 0) * 1000;
    return uptime >= this.#lockDuration && Date.now() - this.#since >= this.#lockDuration;
  }

  close(): void {
    this.#redis.off('close', this.restart).off('ready', this.restart);
  }
}
