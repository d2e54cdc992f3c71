import type { StrategyParts } from '../strategy.js';
import { keyOf, userKey } from './keys.js';
import type { Subject } from './pins.js';

/*
 * What the store keeps while a user has sessions. All of it is in the part of the store that
 * belongs to this strategy, and expires with the longest session.
 *
 * - `user:`: what the provider said about a user, for `find_user`.
 * - `grant:`: the refresh token of each session. A session without one has an empty grant.
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
  /** The claims, encrypted; empty if the login gave no refresh token. */
  readonly claims: string;
  /** When the provider said it; Unix milliseconds. */
  readonly checkedAt: number;
};

/** The refresh token of a session. */
export interface Grant {
  readonly sessionId: string;
  readonly username: string;
  /** `undefined` if the provider gave none. */
  readonly token: string | undefined;
  /** The value in the store. */
  readonly stored: StoredGrant;
}

type StoredGrant = { readonly token: string; readonly expiresAt: number };

/** Maximum number of sessions of one user, or of one session of the provider, that are read. */
const maxListed = 1000;
/** Seconds that records are kept after the last session must have ended. */
const margin = 60;

/** The records of a strategy. */
export class Records {
  readonly #parts: StrategyParts;
  readonly #ttl: number;

  constructor(parts: StrategyParts) {
    this.#parts = parts;
    this.#ttl = parts.tokenExpiry + margin;
  }

  async user(username: string): Promise<UserRecord | undefined> {
    return (await this.#parts.store.get(`user:${userKey(username)}`)) as UserRecord | undefined;
  }

  async putUser(record: UserRecord): Promise<void> {
    await this.#parts.store.set(`user:${userKey(record.username)}`, record, this.#ttl);
  }

  /** Replaces or removes a record. Resolves to `false` if a login has changed it since. */
  async replaceUser(before: UserRecord, after: UserRecord | undefined): Promise<boolean> {
    return this.#parts.store.replace(`user:${userKey(before.username)}`, before, after, this.#ttl);
  }

  async putGrant(username: string, sessionId: string, token: string | undefined): Promise<void> {
    const { store, now } = this.#parts;
    const stored = this.#storedGrant(token, now() + this.#ttl * 1000);
    await store.set(grantKey(username, sessionId), stored, this.#ttl);
  }

  async grants(username: string): Promise<readonly Grant[]> {
    const { store, decrypt } = this.#parts;
    const prefix = grantKey(username, '');
    const entries = await store.list(prefix, undefined, maxListed);
    return entries.map(({ key, value }) => {
      const stored = value as StoredGrant;
      return {
        sessionId: key.slice(prefix.length),
        username,
        token: decrypt(stored.token),
        stored,
      };
    });
  }

  /** Stores a new refresh token, or removes the grant. */
  async replaceGrant(grant: Grant, token: string | undefined): Promise<void> {
    const { store, now } = this.#parts;
    const { expiresAt } = grant.stored;
    const after = token === undefined ? undefined : this.#storedGrant(token, expiresAt);
    const ttl = Math.max(1, (expiresAt - now()) / 1000);
    await store.replace(grantKey(grant.username, grant.sessionId), grant.stored, after, ttl);
  }

  #storedGrant(token: string | undefined, expiresAt: number): StoredGrant {
    return { token: token === undefined ? '' : this.#parts.encrypt(token), expiresAt };
  }

  async putProviderSession(
    { iss }: Subject,
    sid: string,
    session: { username: string; sessionId: string },
  ): Promise<void> {
    const { username, sessionId } = session;
    await this.#parts.store.set(`sid:${keyOf(iss, sid)}:${sessionId}`, username, this.#ttl);
  }

  /** Resolves to the sessions here that belong to a session of the provider. */
  async sessionsOf(
    iss: string,
    sid: string,
  ): Promise<readonly { username: string; sessionId: string }[]> {
    const prefix = `sid:${keyOf(iss, sid)}:`;
    const entries = await this.#parts.store.list(prefix, undefined, maxListed);
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
    const [hint, grant] = await Promise.all([
      store.get(`hint:${sessionId}`),
      store.get(grantKey(username, sessionId)),
    ]);
    await Promise.all([
      store.replace(`hint:${sessionId}`, hint, undefined, 1),
      store.replace(grantKey(username, sessionId), grant, undefined, 1),
    ]);
    return typeof hint === 'string' ? decrypt(hint) : undefined;
  }
}

function grantKey(username: string, sessionId: string): string {
  return `grant:${userKey(username)}:${sessionId}`;
}
