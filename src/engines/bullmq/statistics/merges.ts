import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { type RedisScript, redisScript, runScript } from '../connection/redis-script.js';
import { maxStored } from './stored-numbers.js';

/** A call of a script of {@link mergeScript}, which adds something to what is stored. */
export interface Merge {
  script: RedisScript;
  keys: readonly string[];
  args: readonly (string | number)[];
}

/** Milliseconds for which Redis keeps the number of the last merge of a process. */
const keptNumber = 86_400_000;

/**
 * Builds a script for {@link Merges}. If Redis has already run a call, and only its answer was
 * lost, the script does nothing.
 *
 * @param text The script. `KEYS` and `ARGV` are those of the {@link Merge}. It calls `merged` with
 * a function that adds a new entry to the stored entry. The function gets two arguments: the stored
 * entry, which is a table or nil, and the text of the new entry. It passes each part of the stored
 * entry through `part` or `countsOf`, which leave out unreadable parts. `merged` returns whether
 * the function succeeded, and its results.
 */
export function mergeScript(text: string): RedisScript {
  return redisScript(`
local last, number = table.remove(KEYS), table.remove(ARGV)
if tonumber(redis.call('GET', last) or 0) >= tonumber(number) then return 0 end
local replaced, isWhole = 0, true
local function isNumber(value)
  return type(value) == 'number' and value >= 0 and value <= ${maxStored}
end
local function isCount(value) return isNumber(value) and value % 1 == 0 end
local function part(value, isValid, otherwise)
  if isValid then return value end
  isWhole = false
  return otherwise
end
local function countsOf(value)
  local counts, areWhole = {}, type(value) == 'table'
  for key, count in pairs(areWhole and value or {}) do
    if type(key) == 'string' and isCount(count) then counts[key] = count else areWhole = false end
  end
  return counts, part(areWhole, areWhole)
end
local function merged(combined, stored, new)
  isWhole = true
  local isJson, before = pcall(cjson.decode, stored or '')
  if not isJson or type(before) ~= 'table' then before = stored and {} or nil end
  local isValid, entry, order = pcall(combined, before, new)
  if isValid and not isWhole then replaced = replaced + 1 end
  return isValid, entry, order
end
${text}
redis.call('SET', last, number, 'PX', ${keptNumber})
return replaced
`);
}

/**
 * Sends merges in order, and sends each again until Redis has answered. Each merge has a number.
 * Redis keeps the number of the last merge of this process, so it applies none twice.
 */
export class Merges {
  readonly #redis: Redis;
  readonly #last: string;
  #number = 0;
  readonly #unanswered: (Merge & { number: number })[] = [];

  /** @param last Returns the key of the number of a process's last merge. */
  constructor(redis: Redis, last: (process: string) => string) {
    this.#redis = redis;
    this.#last = last(randomUUID());
  }

  add(merge: Merge): void {
    this.#number += 1;
    this.#unanswered.push({ ...merge, number: this.#number });
  }

  /**
   * Sends all merges. Call it again after an error. Calls must not overlap. `onReplaced` gets the
   * number of entries of which a merge has replaced a part, because Redis could not read it.
   */
  async send(onReplaced: (entries: number) => void): Promise<void> {
    for (let first = this.#unanswered[0]; first; first = this.#unanswered[0]) {
      const keys = [...first.keys, this.#last];
      const args = [...first.args, first.number];
      const replaced = Number(await runScript(this.#redis, first.script, keys, args));
      this.#unanswered.shift();
      if (replaced > 0) onReplaced(replaced);
    }
  }
}
