import { sameUser } from '../../sessions/revocations.js';
import type { StrategyParts } from '../strategy.js';
import { keyOf, userKey } from './keys.js';

/*
 * The name of a user may change at the provider, and another user may then get it. So the first
 * login with a name pins it to the user's issuer and subject, which never change. Another user
 * with that name is refused.
 */

/** A user at the provider: an issuer and a subject, which is unique there. */
export interface Subject {
  readonly iss: string;
  readonly sub: string;
}

/** Seconds for which a name stays pinned after the last login with it. */
const pinned = 400 * 86_400;

/** The names of users, each pinned to its subject. */
export interface Pins {
  /**
   * Pins a name to a subject. Resolves to `false` if it is pinned to another one. Ends the sessions
   * under the name that the subject had before.
   */
  pin(username: string, subject: Subject): Promise<boolean>;
  /** Resolves to the name with which a subject signed in last. */
  nameOf(iss: string, sub: string): Promise<string | undefined>;
  /** Lets any subject use a name again. Resolves to `false` if the name was not pinned. */
  unpin(username: string): Promise<boolean>;
}

type PinParts = Pick<StrategyParts, 'store' | 'endSessions' | 'record'>;

/** Makes the pins of a strategy. */
export function namePins({ store, endSessions, record }: PinParts): Pins {
  const pinKey = (username: string): string => `pin:${userKey(username)}`;
  const nameOf: Pins['nameOf'] = async (iss, sub) => {
    const name = await store.get(`name:${keyOf(iss, sub)}`);
    return typeof name === 'string' ? name : undefined;
  };
  return {
    async pin(username, { iss, sub }) {
      const subject = keyOf(iss, sub);
      const key = pinKey(username);
      const isNew = await store.replace(key, undefined, subject, pinned);
      if (!isNew && !(await store.replace(key, subject, subject, pinned))) return false;
      if (isNew) void record({ action: 'name_pinned', actor: username, detail: { username } });
      const before = await nameOf(iss, sub);
      if (before !== undefined && sameUser(before) !== sameUser(username))
        await endSessions({ username: before });
      await store.set(`name:${subject}`, username, pinned);
      return true;
    },
    nameOf,
    async unpin(username) {
      const key = pinKey(username);
      const before = await store.get(key);
      if (before === undefined || !(await store.replace(key, before, undefined, pinned)))
        return false;
      await record({ action: 'name_unpinned', detail: { username } });
      return true;
    },
  };
}
