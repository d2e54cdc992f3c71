import type { Redis } from 'ioredis';
import { checkPermissions, storeCommands, UnusableRedis } from '../connection/permissions.js';
import { redisScript, runScript } from '../connection/redis-script.js';

/** A login that uses a store: its mount path, and a check value of each of its secret keys. */
interface Claim {
  path: string;
  owners: readonly string[];
}

/** Another app, with another secret key, uses the store for a login at the same path. */
export class ForeignStore extends Error {}

/**
 * Stores the owners of the entries of a path, unless another app owns them. If the two lists have a
 * value in common, it is the same app, which has added or removed a key. The stored list keeps the
 * values of its other processes, because one that still has only the old key would otherwise shut
 * out those that have only the new one.
 * KEYS: the hash of owners. ARGV: the path, the check values as a list in JSON, how many values are
 * kept.
 */
const claimPath = redisScript(`
local stored = redis.call('HGET', KEYS[1], ARGV[1])
local owners = cjson.decode(ARGV[2])
local mine, own, known = #owners, {}, 0
for _, owner in ipairs(owners) do own[owner] = true end
for _, owner in ipairs(stored and cjson.decode(stored) or {}) do
  if own[owner] then
    known = known + 1
  elseif #owners < tonumber(ARGV[3]) then
    table.insert(owners, owner)
  end
end
if stored and known == 0 then return 0 end
if known < mine then redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(owners)) end
return 1
`);

/** How many check values of a path are kept: the keys of an app during a few changes of its key. */
const keptOwners = 8;

/**
 * Prevents two apps from sharing sessions, revocations, throttle and audit by accident. Processes
 * of one app have a secret key in common, so if the owner of a store has another key, it is another
 * app. Redis may lose the claims with all other data, so the store repeats them on each new
 * connection and every second.
 */
export class StoreOwners {
  readonly #key: string;
  readonly #setting: string;
  #claims: readonly Claim[] = [];
  #state: 'unknown' | 'held' | 'refused' = 'unknown';
  #isAllowed = false;
  #checking: Promise<void> | undefined;

  /** @param setting The option that names the store, with its value, for the error message. */
  constructor(key: string, setting: string) {
    this.#key = key;
    this.#setting = setting;
  }

  /** Whether this app may use the store (`held`) or not (`refused`), by the last check. */
  get state(): 'unknown' | 'held' | 'refused' {
    return this.#state;
  }

  /**
   * Adds a claim. If a login has other keys now, its claim replaces the one of its earlier keys. A
   * login without a key of its own claims nothing.
   */
  add(claim: Claim): void {
    const isEarlier = ({ path, owners }: Claim): boolean =>
      path === claim.path && owners.some((owner) => claim.owners.includes(owner));
    if (claim.owners.length > 0)
      this.#claims = [...this.#claims.filter((each) => !isEarlier(each)), claim];
    this.doubt();
  }

  /** Makes the next use check the store again, because Redis may have other data now. */
  doubt(): void {
    [this.#state, this.#isAllowed] = ['unknown', false];
  }

  /**
   * Repeats the claims. The first check on a connection includes whether the Redis user may run the
   * commands of a store.
   *
   * @throws ForeignStore if another app owns one of the paths. UnusableRedis if a command is not
   * allowed.
   */
  async check(redis: Redis): Promise<void> {
    this.#checking ??= this.#check(redis).finally(() => {
      this.#checking = undefined;
    });
    await this.#checking;
  }

  async #check(redis: Redis): Promise<void> {
    try {
      if (!this.#isAllowed)
        await checkPermissions(redis, this.#key, storeCommands).catch(unlessForbidden);
      this.#isAllowed = true;
      await this.#claimAll(redis);
    } catch (error) {
      if (error instanceof ForeignStore || error instanceof UnusableRedis) this.#state = 'refused';
      throw error;
    }
  }

  async #claimAll(redis: Redis): Promise<void> {
    const claims = this.#claims;
    const answers = await Promise.all(
      claims.map(({ path, owners }) =>
        runScript(
          redis,
          claimPath,
          [this.#key],
          [path, JSON.stringify(owners), String(keptOwners)],
        ),
      ),
    );
    const foreign = claims.find((_claim, n) => answers[n] !== 1);
    if (foreign)
      throw new ForeignStore(
        `another app on this Redis, with another secretKey, uses the same ${this.#setting} for ` +
          `its login at '${foreign.path}'. ` +
          `Give each app its own ${this.#setting}. If this app has a new secretKey, list the ` +
          'old one after it, ' +
          `or delete the field '${foreign.path}' of the Redis hash '${this.#key}'`,
      );
    // Claims that were added during the check are not made yet.
    this.#state = claims === this.#claims ? 'held' : 'unknown';
  }
}

/** Ignores other errors, because a read-only replica or a full Redis rejects only some commands. */
function unlessForbidden(error: unknown): void {
  if (error instanceof UnusableRedis) throw error;
}
