import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { jobFields } from '../jobs/task-job.js';

/** Maximum number of lines per call. Redis does nothing else during a call. */
const maxLines = 100;

/**
 * Adds lines to the log of a job, unless the job was removed or Redis has run this call before.
 * KEYS: the job, its log. ARGV: who calls, the number of the call, the lines.
 */
const addLines = `
local stored = redis.call('HGET', KEYS[1], '${jobFields.lastLines}') or ''
local caller, last = string.match(stored, '^(%S+) (%d+)$')
if caller == ARGV[1] and tonumber(last) >= tonumber(ARGV[2]) then return end
if redis.call('EXISTS', KEYS[1]) == 0 then return end
for n = 3, #ARGV do redis.call('RPUSH', KEYS[2], ARGV[n]) end
redis.call('HSET', KEYS[1], '${jobFields.lastLines}', ARGV[1] .. ' ' .. ARGV[2])
`;

/**
 * Adds log lines of handlers where BullMQ keeps them. If the connection breaks before the answer,
 * ioredis sends a command again, and BullMQ's own step would add its line twice.
 */
export class AddedLines {
  readonly #redis: Redis;
  readonly #caller = randomUUID();
  #calls = 0;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** Adds lines to the log of a job. Its key is `jobKey`. */
  async add(jobKey: string, lines: readonly string[]): Promise<void> {
    const calls: Promise<unknown>[] = [];
    for (let from = 0; from < lines.length; from += maxLines) {
      this.#calls += 1;
      const some = lines.slice(from, from + maxLines);
      // The text of the script is sent each time, so that all calls and the end of the attempt
      // arrive in the order in which they are made here.
      calls.push(
        this.#redis.eval(addLines, 2, jobKey, `${jobKey}:logs`, this.#caller, this.#calls, ...some),
      );
    }
    await Promise.all(calls);
  }
}
