import { randomUUID } from 'node:crypto';
import { inTime } from '../../../waiting.js';
import type { KnownUser, StrategyParts } from '../strategy.js';
import type { Claims, ClaimsReader } from './claims.js';
import { keyOf, userKey } from './keys.js';
import type { Provider, ProviderConnection } from './provider.js';
import { ProviderError } from './provider-errors.js';
import type { Grant, Records, UserRecord } from './records.js';
import { claimsOf } from './tokens.js';

/*
 * Asks the provider about users who are signed in, with the refresh tokens of their sessions. A
 * session ends when the provider refuses its refresh token. All sessions of a user end when the
 * roles of the user change or no role is left.
 *
 * A provider may accept each refresh token only once, and ends the grant if it sees one twice. So a
 * process takes a lease before it asks, and stores a new refresh token before anything else. The
 * other processes keep the last answer meanwhile.
 */

interface RefreshDeps {
  /** Seconds between two questions about a user; `false` for none. */
  refresh: number | false;
  connection: ProviderConnection;
  reader: ClaimsReader;
  records: Records;
  parts: StrategyParts;
}

/** Seconds for which one process may ask about a user. */
const leaseTime = 10;
/** Milliseconds that a request waits for the answer of the provider. */
const maxWait = 6000;
/** Milliseconds for which the provider is not asked again after it did not answer. */
const pause = 5000;

/** Answers `find_user`. */
export class UserRefresh {
  readonly #deps: RefreshDeps;
  #down: { error: unknown; until: number } | undefined;

  constructor(deps: RefreshDeps) {
    this.#deps = deps;
  }

  /**
   * Resolves to the last answer of the provider about a user. Asks again if it is too old. Rejects
   * if the provider does not answer.
   */
  async find(username: string): Promise<KnownUser | undefined> {
    const { records, parts } = this.#deps;
    const record = await records.user(username);
    if (!record || this.#isFresh(record)) return known(record);
    if (this.#down && parts.now() < this.#down.until) throw this.#down.error;
    try {
      const refreshing = this.#refresh(record);
      return known(await inTime(refreshing, maxWait, () => new ProviderError(slow, down)));
    } catch (error) {
      if (error instanceof ProviderError && error.isDown)
        this.#down = { error, until: parts.now() + pause };
      throw error;
    }
  }

  #isFresh({ checkedAt }: UserRecord): boolean {
    const { refresh, parts } = this.#deps;
    return refresh === false || Math.abs(parts.now() - checkedAt) < refresh * 1000;
  }

  async #refresh(record: UserRecord): Promise<UserRecord | undefined> {
    const { connection, records, parts } = this.#deps;
    const provider = await connection.get();
    const key = `lease:${userKey(record.username)}`;
    const lease = randomUUID();
    if (!(await parts.store.replace(key, undefined, lease, leaseTime))) return record;
    try {
      const current = await records.user(record.username);
      if (!current || this.#isFresh(current)) return current;
      return await this.#ask(provider, current);
    } finally {
      await parts.store.replace(key, lease, undefined, leaseTime);
    }
  }

  async #ask(provider: Provider, record: UserRecord): Promise<UserRecord | undefined> {
    const { records } = this.#deps;
    const grants = await records.grants(record.username);
    const asked = await Promise.allSettled(
      grants.map((grant) => this.#renew(provider, record, grant)),
    );
    const answers = asked.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    const claims = answers.findLast((answer) => typeof answer === 'object');
    const failed = asked.find((each) => each.status === 'rejected');
    if (!claims && failed) throw failed.reason;
    const areAllEnded = grants.length > 0 && answers.every((answer) => answer === 'ended');
    const after = areAllEnded ? undefined : await this.#next(record, claims);
    const isReplaced = await records.replaceUser(record, after);
    return isReplaced ? after : records.user(record.username);
  }

  /** Uses the refresh token of a session. Ends the session if the provider refuses it. */
  async #renew(
    provider: Provider,
    { sub, iss }: UserRecord,
    grant: Grant,
  ): Promise<Claims | 'ended' | 'no token'> {
    const { records, reader, parts } = this.#deps;
    const { client, config } = provider;
    const { token, username, sessionId } = grant;
    if (token === undefined) return 'no token';
    try {
      const tokens = await provider.ask(() => client.refreshTokenGrant(config, token));
      const next = tokens.refresh_token;
      if (next !== undefined && next !== token) await records.replaceGrant(grant, next);
      if (iss !== provider.issuer) throw new ProviderError('the issuer has changed');
      return await claimsOf(provider, tokens, { reader, now: parts.now(), sub });
    } catch (error) {
      if (!(error instanceof ProviderError) || error.oauth !== 'invalid_grant') throw error;
      await parts.endSessions({ username, sessionId });
      await records.replaceGrant(grant, undefined);
      return 'ended';
    }
  }

  /** Returns the record after an answer, or `undefined` if the user may not stay signed in. */
  async #next(record: UserRecord, claims: Claims | undefined): Promise<UserRecord | undefined> {
    const { reader, parts } = this.#deps;
    const checked = { ...record, checkedAt: parts.now() };
    if (!claims) return checked;
    const before = parts.decrypt(record.claims);
    const merged = reader.merge(before === undefined ? {} : JSON.parse(before), claims);
    const reading = await reader.read(merged);
    if (!reading.ok || userKey(reading.username) !== userKey(record.username)) return undefined;
    return {
      ...checked,
      roles: reading.roles,
      claims: parts.encrypt(JSON.stringify(merged)),
    };
  }
}

const slow = 'the provider did not answer in time';
const down = { isDown: true };

function known(record: UserRecord | undefined): KnownUser | undefined {
  return record && { version: keyOf(record.iss, record.sub), roles: record.roles };
}
