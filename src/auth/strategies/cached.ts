import { createHmac, randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Role } from '../../http/access.js';
import { numberOption, typeError } from '../../options.js';
import { optionsObject } from '../../options-object.js';
import { kindOf } from '../../show-value.js';
import { forwardClock } from '../forward-clock.js';
import { noteAttached } from './attach.js';
import { copyWarnings } from './configured-user.js';
import { type AuthContext, type AuthStrategy, isPasswordStrategy } from './strategy.js';
import { sameRoles } from './user-fields.js';
import { type Accepted, readVerdict } from './verdict.js';

/** Options of {@link cached}. */
export interface CachedOptions {
  /** Seconds for which a correct password is not checked again: above 0, at most 3600. */
  seconds: number;
}

/** Maximum number of correct passwords that are remembered at once. */
const remembered = 10_000;

/**
 * Wraps a password strategy, so that it does not check a correct password again for some seconds.
 * Any other password is always checked. If `find_user` of the strategy returns another version or
 * other roles, the password is checked again. Without `find_user`, a changed password stays valid
 * for the rest of these seconds. The wrapper keeps a digest of the password with a random key, and
 * never remembers a rejected login.
 *
 * @throws TypeError if `strategy` is not a password strategy, or `seconds` is not a number.
 * RangeError if `seconds` is out of range.
 * @example
 * ```ts
 * registry.register('users', cached(database(findUser), { seconds: 60 }));
 * ```
 */
export function cached(strategy: AuthStrategy, options: CachedOptions): AuthStrategy {
  if (!isPasswordStrategy(strategy))
    throw typeError(
      `cached: strategy is ${kindOf(strategy)}; it must be a password strategy, which has the ` +
        'method authenticate_user',
    );
  const given = optionsObject<CachedOptions>('cached', options, ['seconds']);
  const seconds = numberOption('cached: seconds', given.seconds, undefined, {
    above: true,
    max: 3600,
    unit: 'seconds',
  });
  if (seconds === undefined)
    throw typeError('cached: seconds is not set; it must be a number of seconds, such as 60');
  const accepted = new LRUCache<string, Accepted>({
    max: remembered,
    ttl: seconds * 1000,
    perf: { now: forwardClock() },
  });
  const key = randomBytes(32);

  /** Returns what identifies the credentials and the version of the user, or `undefined`. */
  const digestOf = async (
    username: string,
    password: string,
    context: AuthContext,
  ): Promise<string | undefined> => {
    // For a wrong password, roles are not read, so that the time does not reveal a known user.
    const only = { signal: context.signal, only: 'version' } as const;
    const user = await strategy.find_user?.(username, only);
    if (strategy.find_user && !user) return undefined;
    const text = JSON.stringify([username, password, user?.version, user?.identity]);
    return createHmac('sha256', key).update(text).digest('base64url');
  };

  /** Whether `find_user` still knows a user with the roles of a remembered verdict. */
  const stillHas = async (
    roles: readonly Role[],
    username: string,
    context: AuthContext,
  ): Promise<boolean> => {
    if (!strategy.find_user) return true;
    const user = await strategy.find_user(username, { signal: context.signal });
    return user !== undefined && sameRoles(user.roles ?? roles, roles);
  };

  const wrapper: AuthStrategy = {
    label: strategy.label,
    local: strategy.local,
    staleFor: strategy.staleFor,
    ...(strategy.check && { check: strategy.check.bind(strategy) }),
    ...(strategy.doctor && { doctor: strategy.doctor.bind(strategy) }),
    ...(strategy.explain && { explain: strategy.explain.bind(strategy) }),
    ...(strategy.attach && {
      attach(parts) {
        noteAttached(strategy, parts.name);
        strategy.attach?.(parts);
      },
    }),
    ...(strategy.find_user && { find_user: strategy.find_user.bind(strategy) }),
    async authenticate_user(username, password, context) {
      // The version is read before the check. If it changes during the check, the digest is not
      // found again.
      const digest = await digestOf(username, password, context);
      const known = digest === undefined ? undefined : accepted.get(digest);
      if (known && (await stillHas(known.roles, username, context))) return { ok: true, ...known };
      const verdict = await strategy.authenticate_user(username, password, context);
      const { user } = readVerdict(verdict, username);
      if (user && digest !== undefined) accepted.set(digest, user);
      return verdict;
    },
  };
  copyWarnings(strategy, wrapper);
  return wrapper;
}
