import type { StoreValue } from '../../../store/shared-store.js';
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
/**
 * Number of names that one subject may have pinned. If users may change their name at the provider,
 * they could otherwise take the names of others who have not signed in yet.
 */
const maxNames = 3;
/** Maximum number of attempts to change an entry that other processes change at the same time. */
const maxRaces = 10;

/** The names of users, each pinned to its subject. */
export interface Pins {
  /**
   * Pins a name to a subject. Resolves to `false` if it is pinned to another one. Ends the sessions
   * under the name that the subject had before, and unpins its oldest name if it has too many.
   */
  pin(username: string, subject: Subject): Promise<boolean>;
  /**
   * Resolves to the name with which a subject signed in last, unless another subject has it now.
   */
  nameOf(iss: string, sub: string): Promise<string | undefined>;
  /** Lets any subject use a name again. Resolves to `false` if the name was not pinned. */
  unpin(username: string): Promise<boolean>;
}

type PinParts = Pick<StrategyParts, 'store' | 'endSessions' | 'record'>;

/** Makes the pins of a strategy. */
export function namePins({ store, endSessions, record }: PinParts): Pins {
  const pinKey = (username: string): string => `pin:${userKey(username)}`;
  const isPinnedTo = async (name: string, subject: string): Promise<boolean> =>
    ((await store.get(pinKey(name))) ?? subject) === subject;

  /** Makes a name the last one of a subject. */
  const noteName = async (subject: string, username: string): Promise<void> => {
    const key = `name:${subject}`;
    for (let race = 0; race < maxRaces; race++) {
      const before = await store.get(key);
      const names = namesIn(before);
      const others = names.filter((name) => sameUser(name) !== sameUser(username));
      const [last] = names;
      if (last !== undefined && last === others[0] && (await isPinnedTo(last, subject)))
        await endSessions({ username: last });
      const kept = [username, ...others.slice(0, maxNames - 1)];
      if (!(await store.replace(key, before, kept, pinned))) continue;
      for (const name of others.slice(maxNames - 1))
        if (await store.replace(pinKey(name), subject, undefined, pinned))
          void record({ action: 'name_unpinned', actor: username, detail: { username: name } });
      return;
    }
    throw new Error('the names of a user were changed by other processes again and again');
  };

  return {
    async pin(username, { iss, sub }) {
      const subject = keyOf(iss, sub);
      const key = pinKey(username);
      const isNew = await store.replace(key, undefined, subject, pinned);
      if (!isNew && !(await store.replace(key, subject, subject, pinned))) return false;
      if (isNew) void record({ action: 'name_pinned', actor: username, detail: { username } });
      await noteName(subject, username);
      return true;
    },
    async nameOf(iss, sub) {
      const subject = keyOf(iss, sub);
      const [last] = namesIn(await store.get(`name:${subject}`));
      return last !== undefined && (await isPinnedTo(last, subject)) ? last : undefined;
    },
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

/** Reads the names of a subject from its entry, the last one first. */
function namesIn(value: StoreValue | undefined): readonly string[] {
  return Array.isArray(value) ? value.map(String) : [];
}
