import type { Redis } from 'ioredis';
import { redisScript, runScript } from './redis-script.js';

/** A login that uses a store: the path it is mounted at, and a check value of each of its secret keys. */
interface Claim {
  path: string;
  owners: readonly string[];
}

/**
 * Stores whose the entries of a path are, unless they are another app's. KEYS: the hash of owners. ARGV: the path, the check
 * values as a list in JSON. A list with one value in common is the same app, which has added or dropped a key.
 */
const claimPath = redisScript(`
local stored = redis.call('HGET', KEYS[1], ARGV[1])
if stored == ARGV[2] then return 1 end
if stored then
  local known = {}
  for _, owner in ipairs(cjson.decode(stored)) do known[owner] = true end
  local isSame = false
  for _, owner in ipairs(cjson.decode(ARGV[2])) do isSame = isSame or known[owner] end
  if not isSame then return 0 end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
`);

/**
 * Keeps two apps from sharing sessions, revocations, throttle and audit by accident. Processes of one app have a secret key in
 * common, so a store whose owner has another key belongs to another app.
 */
export class StoreOwners {
  readonly #key: string;
  readonly #setting: string;
  #claims: readonly Claim[] = [];

  /** @param setting The option that names the store, with its value, for the error message. */
  constructor(key: string, setting: string) {
    this.#key = key;
    this.#setting = setting;
  }

  add(claim: Claim): void {
    this.#claims = [...this.#claims, claim];
  }

  /** Claims what has been added since. @throws Error if another app owns one of the paths. */
  async check(redis: Redis): Promise<void> {
    const [claim, ...others] = this.#claims;
    if (!claim) return;
    const { path, owners } = claim;
    const isOurs = await runScript(redis, claimPath, [this.#key], [path, JSON.stringify(owners)]);
    if (isOurs !== 1)
      throw new Error(
        `another app on this Redis, with another secretKey, uses the same ${this.#setting} for its login at '${path}'. ` +
          'Give each app a value of its own. If this app has a new secretKey, list the old one after it, ' +
          `or delete the field '${path}' of the Redis hash '${this.#key}'`,
      );
    if (this.#claims[0] === claim) this.#claims = others;
    await this.check(redis);
  }
}
