import type { StoreValue } from '../../../store/shared-store.js';
import { longestUnchecked } from '../owner-now.js';
import type { EndedUser, StrategyParts } from '../strategy.js';
import { keyOf, userKey } from './keys.js';
import type { Subject } from './pins.js';

/*
 * What the store keeps about users and their sessions. All of it is in the part of the store that
 * belongs to this strategy. What belongs to a session expires with it.
 *
 * - `user:`: what the provider said about a user, for `find_user`.
 * - `grant:`: the refresh token of each session. It is empty if the session has none.
 * - `sid:`: the sessions that belong to a session of the provider, which back-channel logout ends.
 * - `hint:`: the ID token of a session, for the logout at the provider.
 *
 * Tokens and claims are encrypted.
 */

/** What the provider said about a user. It is stored as JSON. */
export type UserRecord = {
  readonly username: string;
  readonly iss: string;
  readonly sub: string;
  readonly roles: readonly string[];
  /** Identifies the options that gave the roles. */
  readonly rule: string;
  /** The claims, encrypted. */
  readonly claims: string;
  /** Whether there was a refresh token, so that the provider can be asked again. */
  readonly isChecked: boolean;
  /** Whether the provider has refused the refresh tokens of all sessions since the last login. */
  readonly isRefused: boolean;
  /** When the provider said it; Unix milliseconds. */
  readonly checkedAt: number;
};

/** The refresh token of a session. */
export interface Grant {
  readonly sessionId: string;
  readonly username: string;
  readonly token: string;
  /** The value in the store. */
  readonly stored: StoredGrant;
}

type StoredGrant = {
  /** Encrypted. */
  readonly token: string;
  readonly sid: string;
  /** The key of the subject. Another subject may get the name later. */
  readonly subject: string;
  /** When the login began, in Unix milliseconds, as all times here. */
  readonly since: number;
  /** When the provider was asked with the token, or gave it. */
  readonly askedAt: number;
  readonly expiresAt: number;
};

/** Maximum number of sessions of one user, or of one session of the provider, that are read. */
const maxListed = 1000;
/** Seconds that records are kept after the last session must have ended. */
const margin = 60;

/** The records of a strategy. */
export class Records {
  readonly #parts: StrategyParts;
  readonly #ttl: number;
  /** Seconds for which a user is known: at least as long as an API token of the user is valid. */
  readonly #knownFor: number;

  constructor(parts: StrategyParts) {
    this.#parts = parts;
    this.#ttl = parts.tokenExpiry + margin;
    this.#knownFor = Math.max(this.#ttl, longestUnchecked + margin);
  }

  async user(username: string): Promise<UserRecord | undefined> {
    return (await this.#parts.store.get(`user:${userKey(username)}`)) as UserRecord | undefined;
  }

  async putUser(record: UserRecord): Promise<void> {
    await this.#parts.store.set(`user:${userKey(record.username)}`, record, this.#knownFor);
  }

  /** Replaces or removes a record. Resolves to `false` if a login has changed it since. */
  async replaceUser(before: UserRecord, after: UserRecord | undefined): Promise<boolean> {
    return this.#parts.store.replace(
      `user:${userKey(before.username)}`,
      before,
      after,
      this.#knownFor,
    );
  }

  /** Stores the refresh token of a session, and the session of the provider for this session. */
  async putGrant(
    { username, sessionId }: Pick<Grant, 'username' | 'sessionId'>,
    given: Pick<StoredGrant, 'sid' | 'subject'>,
    token: string | undefined,
  ): Promise<void> {
    const { store, now } = this.#parts;
    const since = now();
    const stored = this.#storedGrant(token, {
      ...given,
      since,
      askedAt: since,
      expiresAt: since + this.#ttl * 1000,
    });
    await store.set(grantKey(username, sessionId), stored, this.#ttl);
  }

  /**
   * Resolves to the refresh tokens of a user: that of the newest session, and then the others.
   * Those that the app has not used for the longest time come first.
   */
  async grants(username: string): Promise<readonly Grant[]> {
    const { store, decrypt } = this.#parts;
    const prefix = grantKey(username, '');
    const entries = await store.list(prefix, undefined, maxListed);
    const [newest, ...others] = entries
      .flatMap(({ key, value }) => {
        const stored = value as StoredGrant;
        const token = decrypt(stored.token);
        const sessionId = key.slice(prefix.length);
        return token === undefined ? [] : [{ sessionId, username, token, stored }];
      })
      .sort((one, other) => other.stored.since - one.stored.since);
    others.sort((one, other) => one.stored.askedAt - other.stored.askedAt);
    return newest ? [newest, ...others] : [];
  }

  /** Stores the refresh token of a session after a question to the provider. */
  async replaceGrant({ username, sessionId, stored }: Grant, token: string): Promise<void> {
    const { store, now } = this.#parts;
    const ttl = Math.max(1, (stored.expiresAt - now()) / 1000);
    const after = this.#storedGrant(token, { ...stored, askedAt: now() });
    await store.replace(grantKey(username, sessionId), stored, after, ttl);
  }

  #storedGrant(token: string | undefined, others: Omit<StoredGrant, 'token'>): StoredGrant {
    return { ...others, token: token === undefined ? '' : this.#parts.encrypt(token) };
  }

  /**
   * Notes that a session belongs to a session of the provider. Resolves to the key of the session
   * of the provider.
   */
  async putProviderSession(
    { iss }: Subject,
    sid: string,
    { username, sessionId }: { username: string; sessionId: string },
  ): Promise<string> {
    const key = keyOf(iss, sid);
    await this.#parts.store.set(`sid:${key}:${sessionId}`, username, this.#ttl);
    return key;
  }

  /**
   * Resolves to the sessions here that belong to a session of the provider. If they are too many to
   * list, resolves to their users instead. All sessions of these users then end.
   */
  async sessionsOf(iss: string, sid: string): Promise<readonly EndedUser[]> {
    const prefix = `sid:${keyOf(iss, sid)}:`;
    const entries = await this.#parts.store.list(prefix, undefined, maxListed);
    if (entries.length === maxListed)
      return [...new Set(entries.map(({ value }) => String(value)))].map((username) => ({
        username,
      }));
    return entries.map(({ key, value }) => ({
      username: String(value),
      sessionId: key.slice(prefix.length),
    }));
  }

  async putHint(sessionId: string, idToken: string): Promise<void> {
    const { store, encrypt } = this.#parts;
    await store.set(`hint:${sessionId}`, encrypt(idToken), this.#ttl);
  }

  /** Removes what belongs to a session that has ended. Resolves to its ID token. */
  async takeSession(username: string, sessionId: string): Promise<string | undefined> {
    const { store, decrypt } = this.#parts;
    const take = async (key: string): Promise<StoreValue | undefined> => {
      const value = await store.get(key);
      if (value !== undefined) await store.replace(key, value, undefined, 1);
      return value;
    };
    const [hint, grant] = await Promise.all([
      take(`hint:${sessionId}`),
      take(grantKey(username, sessionId)),
    ]);
    const { sid } = (grant ?? {}) as Partial<StoredGrant>;
    if (sid) await take(`sid:${sid}:${sessionId}`);
    return typeof hint === 'string' ? decrypt(hint) : undefined;
  }
}

function grantKey(username: string, sessionId: string): string {
  return `grant:${userKey(username)}:${sessionId}`;
}
