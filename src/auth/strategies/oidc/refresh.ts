import { randomUUID } from 'node:crypto';
import { inTime, waitUnref } from '../../../waiting.js';
import { forwardClock } from '../../forward-clock.js';
import { LogLimit } from '../../log-limit.js';
import type { KnownUser, StrategyParts } from '../strategy.js';
import type { Claims, ClaimsReader } from './claims.js';
import { keyOf, userKey } from './keys.js';
import { Pauses } from './pauses.js';
import type { Provider, ProviderConnection } from './provider.js';
import { ProviderError } from './provider-errors.js';
import type { Grant, Records, UserRecord } from './records.js';
import { claimsOf } from './tokens.js';

/*
 * Asks the provider about users who are signed in, with the refresh tokens of their sessions, a few
 * of them at a time. A session ends when the provider refuses its refresh token. All sessions of a
 * user end when the roles of the user change, no role is left, or no refresh token is left. In the
 * last case, the user may still exist, so API tokens are valid again after the next login.
 *
 * A provider may accept each refresh token only once, and ends the grant if it gets a token twice.
 * So a process takes a lease before it asks, and stores a new refresh token before anything else.
 * The other processes wait for its answer. If the answer does not arrive, they must not treat an
 * old answer as a new one.
 */

interface RefreshDeps {
  /** Seconds between two requests about a user; `false` for no requests. */
  refresh: number | false;
  connection: ProviderConnection;
  reader: ClaimsReader;
  records: Records;
  parts: StrategyParts;
}

/** Seconds for which one process may ask about a user. */
const leaseTime = 10;
/** Milliseconds between two attempts to take the lease. */
const leaseRetry = 100;
/** Milliseconds that a request waits for the answer of the provider. */
const maxWait = 6000;
/** Maximum number of refresh tokens with which the provider is asked about a user at once. */
const maxAsked = 5;
/** The errors with which a provider refuses the user or the refresh token, not the app. */
const refusals: readonly (string | undefined)[] = [
  ...['invalid_grant', 'access_denied', 'login_required', 'interaction_required'],
  ...['consent_required', 'account_selection_required'],
];

/** Answers `find_user`. */
export class UserRefresh {
  readonly #deps: RefreshDeps;
  readonly #pauses: Pauses;
  readonly #lines = new LogLimit();

  constructor(deps: RefreshDeps) {
    this.#deps = deps;
    this.#pauses = new Pauses(forwardClock(deps.parts.now));
  }

  /**
   * Resolves to the last answer of the provider about a user. Asks again if it is too old. Rejects
   * if the provider does not answer.
   */
  async find(username: string): Promise<KnownUser | undefined> {
    const { records, refresh } = this.#deps;
    const record = await records.user(username);
    if (!record || refresh === false) return this.#known(record, false);
    if (this.#isFresh(record)) return this.#known(record);
    if ((await this.#grantsOf(record)).length === 0) return this.#known(record, false);
    const key = userKey(username);
    const before = this.#pauses.errorFor(key);
    if (before) throw before;
    try {
      const refreshing = this.#refresh(record);
      const found = await inTime(refreshing, maxWait, () => new ProviderError(slow, down));
      this.#pauses.answered(key);
      return found;
    } catch (error) {
      if (error instanceof ProviderError) this.#failed(key, error);
      throw error;
    }
  }

  #failed(key: string, error: ProviderError): void {
    if (error.isDown) {
      this.#pauses.failed(key, error);
      return;
    }
    if (this.#lines.isDue(error.oauth ?? ''))
      this.#deps.parts.logger.error(
        { reason: error.message },
        'the provider refuses to answer about a signed-in user, whose sessions stop after 15 ' +
          'minutes; correct the configuration of the app, or see the log of the provider',
      );
  }

  #isFresh({ checkedAt }: UserRecord): boolean {
    const { refresh, parts } = this.#deps;
    return Math.abs(parts.now() - checkedAt) < Number(refresh) * 1000;
  }

  /**
   * Resolves to the refresh tokens with which the provider is to be asked next. Removes those of
   * ended sessions, and of an earlier user with the same name.
   */
  async #grantsOf({ username, iss, sub }: UserRecord): Promise<readonly Grant[]> {
    const { records, parts } = this.#deps;
    const subject = keyOf(iss, sub);
    const usable: Grant[] = [];
    for (const grant of await records.grants(username)) {
      if (usable.length === maxAsked) break;
      const { sessionId, stored } = grant;
      const isOwn = stored.subject === subject;
      if (isOwn && !(await parts.hasEnded({ username, sessionId, since: stored.since })))
        usable.push(grant);
      else await records.takeSession(username, sessionId);
    }
    return usable;
  }

  async #refresh({ username }: UserRecord): Promise<KnownUser | undefined> {
    const { connection, records, parts } = this.#deps;
    const provider = await connection.get();
    const key = `lease:${userKey(username)}`;
    const lease = randomUUID();
    const end = performance.now() + maxWait;
    while (!(await parts.store.replace(key, undefined, lease, leaseTime))) {
      if (performance.now() > end) throw new ProviderError(slow, down);
      await waitUnref(leaseRetry);
      const current = await records.user(username);
      if (!current || this.#isFresh(current)) return this.#known(current);
    }
    try {
      const current = await records.user(username);
      if (!current || this.#isFresh(current)) return await this.#known(current);
      return await this.#ask(provider, current, async () => {
        if (!(await parts.store.replace(key, lease, lease, leaseTime)))
          throw new ProviderError(slow, down);
      });
    } finally {
      await parts.store.replace(key, lease, undefined, leaseTime);
    }
  }

  async #ask(
    provider: Provider,
    record: UserRecord,
    extendLease: () => Promise<void>,
  ): Promise<KnownUser | undefined> {
    const { records, parts } = this.#deps;
    let grants = await this.#grantsOf(record);
    if (grants.length === 0) return this.#known(record, false);
    let claims: Claims | undefined;
    while (!claims && grants.length > 0) {
      claims = await this.#claimsWith(grants, provider, record);
      if (claims) break;
      await extendLease();
      grants = await this.#grantsOf(record);
    }
    const after = claims ? await this.#next(record, claims) : { ...record, isRefused: true };
    if (!(await records.replaceUser(record, after)))
      return this.#known(await records.user(record.username));
    // Otherwise, the sessions would be valid again after the next login.
    if (!claims || !after) await parts.endSessions({ username: record.username });
    return this.#known(after);
  }

  /** Uses refresh tokens. Resolves to `undefined` if the provider refuses all of them. */
  async #claimsWith(
    grants: readonly Grant[],
    provider: Provider,
    record: UserRecord,
  ): Promise<Claims | undefined> {
    const asked = await Promise.allSettled(
      grants.map((grant) => this.#renew(provider, record, grant)),
    );
    const answers = asked.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    const claims = answers.find((answer) => answer !== 'ended');
    const failed = asked.find((each) => each.status === 'rejected');
    if (!claims && failed) throw failed.reason;
    return claims;
  }

  /** Uses the refresh token of a session. Ends the session if the provider refuses it. */
  async #renew(
    provider: Provider,
    { sub, iss }: UserRecord,
    grant: Grant,
  ): Promise<Claims | 'ended'> {
    const { records, reader, parts } = this.#deps;
    const { client, config } = provider;
    const { token, username, sessionId } = grant;
    try {
      const tokens = await provider.ask(() => client.refreshTokenGrant(config, token));
      await records.replaceGrant(grant, tokens.refresh_token ?? token);
      if (iss !== provider.issuer) throw new ProviderError('the issuer has changed');
      return await claimsOf(provider, tokens, { reader, now: parts.now(), sub });
    } catch (error) {
      if (!isRefusal(error)) {
        // The other tokens are used next. This has no effect if there is a new token already.
        await records.replaceGrant(grant, token);
        throw error;
      }
      await parts.endSessions({ username, sessionId });
      await records.takeSession(username, sessionId);
      return 'ended';
    }
  }

  /** Returns the record after an answer, or `undefined` if the user may not stay signed in. */
  async #next(record: UserRecord, claims: Claims): Promise<UserRecord | undefined> {
    const { reader, parts } = this.#deps;
    const merged = reader.merge(this.#claimsOf(record), claims);
    const roles = await this.#rolesOf(record, merged);
    return (
      roles && {
        ...{ ...record, roles, rule: reader.rule, claims: parts.encrypt(JSON.stringify(merged)) },
        ...{ checkedAt: parts.now(), isChecked: true, isRefused: false },
      }
    );
  }

  #claimsOf({ claims }: UserRecord): Claims {
    const text = this.#deps.parts.decrypt(claims);
    return text === undefined ? {} : JSON.parse(text);
  }

  /** Returns the roles that claims give, or `undefined` if the user may not stay signed in. */
  async #rolesOf(
    { username }: UserRecord,
    claims: Claims,
  ): Promise<UserRecord['roles'] | undefined> {
    const reading = await this.#deps.reader.read(claims);
    return reading.ok && userKey(reading.username) === userKey(username)
      ? reading.roles
      : undefined;
  }

  async #known(
    record: UserRecord | undefined,
    isChecked = record?.isChecked,
  ): Promise<KnownUser | undefined> {
    if (!record) return undefined;
    // Without an identity, sessions have ended, and API tokens wait for the next login.
    if (record.isRefused) return { version: 'refused', roles: [] };
    const isCurrent = record.rule === this.#deps.reader.rule;
    const roles = isCurrent ? record.roles : await this.#rolesOf(record, this.#claimsOf(record));
    const account = keyOf(record.iss, record.sub);
    return (
      roles && {
        ...{ version: account, identity: account, roles },
        ...(!isChecked && { unchecked: true }),
      }
    );
  }
}

/** Whether the provider refused the user or the refresh token. */
function isRefusal(error: unknown): boolean {
  return error instanceof ProviderError && !error.isDown && refusals.includes(error.oauth);
}

const slow = 'the provider did not answer in time';
const down = { isDown: true };
