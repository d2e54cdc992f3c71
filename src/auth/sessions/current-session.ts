import type { Context } from 'koa';
import { LRUCache } from 'lru-cache';
import { perRequest } from '../../http/per-request.js';
import type { AuthLog } from '../auth-log.js';
import { type RequestInfo, requestInfo } from '../request-info.js';
import type { KnownUsers } from '../strategies/known-users.js';
import type { Cookie } from './cookies.js';
import type { RequestIdentities, RequestIdentity } from './request-identity.js';
import type { Revocations } from './revocations.js';
import { endOf, type Session } from './session.js';
import type { SessionList } from './session-list.js';
import type { Tokens } from './tokens.js';

/*
 * Finds the session of a request in these steps. A request has no session if one of them fails:
 *
 * 1. A Bearer token of this login decides alone. Otherwise, the request strategies are asked. If
 *    one of them decides, the steps below are left out. Otherwise, all values of the cookie are
 *    read.
 * 2. `Tokens` checks the signature, the shape and the time. `Revocations` checks whether the
 *    session was ended.
 * 3. Exactly one session must remain. `KnownUsers` checks whether its user is unchanged.
 * 4. The session is in use. The idle timeout may renew its token, and the session list records the
 *    use.
 *
 * The result is stored on the request, so that guards after `sessionToken` repeat no step.
 */

type Found = Session | undefined;

/** The session that one login read from a request. */
interface ReadBefore {
  reader: SessionReader;
  session: Found | Promise<Found>;
  ambient: boolean;
  /** What a request strategy decided. The session is then not one of a token. */
  identity: RequestIdentity | undefined;
  /** The sessions that other logins read from the same request. */
  others: ReadBefore | undefined;
}

/** If the app has one login, each request has one entry, and no search is needed. */
const read = perRequest<ReadBefore>('session');

/** A Bearer value that decides alone, and the strategy whose token it is. */
interface Bearer {
  value: string;
  /** `undefined` for a token of this login and for an empty value. */
  owner: ReturnType<RequestIdentities['ownerOf']>;
}

interface ReaderDeps {
  tokens: Pick<Tokens, 'read' | 'isOurs' | 'isCurrent' | 'versionOf' | 'signOutOf'>;
  cookie: Pick<Cookie, 'read'>;
  revocations: Pick<Revocations, 'ready' | 'has' | 'end'>;
  users: Pick<KnownUsers, 'unchanged' | 'hasChanged'>;
  sessions: Pick<SessionList, 'touch'>;
  log: Pick<AuthLog, 'reused' | 'conflict' | 'found'>;
  /** Seconds a session lasts from its login. */
  tokenExpiry: number;
  /** Rejects if there are no secret keys yet. Returns `undefined` if there are. */
  keysReady: () => Promise<void> | undefined;
  /**
   * Rejects if the store belongs to another app. Returns `undefined` if it is known to belong to
   * this login.
   */
  ownStore: () => Promise<void> | undefined;
  /** Gives an active session a new token if it is due. Absent without an idle timeout. */
  renew: ((ctx: Context, session: Session) => Session) | undefined;
  /** Absent without a request strategy. */
  requests: RequestIdentities | undefined;
}

/** Reads the sessions of requests for one login. */
export class SessionReader {
  readonly #deps: ReaderDeps;
  /** The ids of the sessions for which {@link SessionReader.#endChanged} has not finished. */
  readonly #ending = new Set<string>();

  constructor(deps: ReaderDeps) {
    this.#deps = deps;
  }

  /**
   * Returns the session of a request if it is valid, was not ended, and its user is unchanged.
   * Returns a promise only until the secret keys are known and the store has first answered, or if
   * a strategy returns one. A promise for each request would cost as much as all other steps.
   *
   * @throws TaskflowError STORE_UNAVAILABLE (or rejects with it) if the server cannot know whether
   * the session is still valid, or if a request strategy fails.
   */
  of(ctx: Context): Found | Promise<Found> {
    const waiting = this.#deps.keysReady();
    return waiting ? waiting.then(() => this.#read(ctx)) : this.#read(ctx);
  }

  #read(ctx: Context): Found | Promise<Found> {
    const before = this.#before(ctx);
    if (before) return before.session;
    const entry = this.#entry(ctx);
    entry.session = this.#find(ctx, entry);
    read.set(ctx, entry);
    return entry.session;
  }

  /**
   * Whether a page of another site could have made the browser send the session of this request.
   * Only a session from `Authorization` rules that out. A Bearer token of another issuer beside a
   * cookie does not, because proxies add such headers.
   */
  isAmbient(ctx: Context): boolean {
    return this.#before(ctx)?.ambient !== false;
  }

  /** Returns what a request strategy decided, once {@link of} has answered. */
  identityOf(ctx: Context): RequestIdentity | undefined {
    return this.#before(ctx)?.identity;
  }

  /** Replaces the session of a request for all later readers. */
  replace(ctx: Context, session: Session): void {
    read.set(ctx, { ...this.#entry(ctx), session });
  }

  /** Returns the session tokens of a request, which are not checked yet. */
  tokensOf(ctx: Context): readonly string[] {
    return this.#tokensOf(ctx, this.#bearerOf(ctx));
  }

  /**
   * Returns the sessions that a login or a logout ends: those of all given tokens that are valid
   * and were not ended yet. The strategies are not asked whether the users are unchanged. A failing
   * strategy must not keep a session alive, and must not prevent a login with another strategy.
   */
  async openOf(tokens: readonly string[], request: RequestInfo): Promise<readonly Session[]> {
    const { revocations, tokens: checks, log } = this.#deps;
    const carried = this.#currentOf(tokens, (session) => log.reused(request, session, 'expired'));
    if (carried.length > 0) await revocations.ready();
    return carried.filter((session) => !revocations.has(session, checks.signOutOf(session)));
  }

  #entry(ctx: Context): ReadBefore {
    const others = read.get(ctx);
    return { reader: this, session: undefined, ambient: true, identity: undefined, others };
  }

  #before(ctx: Context): ReadBefore | undefined {
    let found = read.get(ctx);
    while (found && found.reader !== this) found = found.others;
    return found;
  }

  /**
   * Returns the Bearer value that decides alone, valid or not (RFC 6750 section 2.1): a token of
   * this login or of a request strategy, or an empty value. Any other token is for another service,
   * such as the ID token that a proxy adds. It must not hide the cookie.
   */
  #bearerOf(ctx: Context): Bearer | undefined {
    const found = /^bearer(?:[ \t]+(.*))?$/i.exec(ctx.get('Authorization'));
    if (!found) return undefined;
    const { requests, tokens } = this.#deps;
    const value = found[1] ?? '';
    if (value === '' || tokens.isOurs(value)) return { value, owner: undefined };
    const owner = requests?.ownerOf(value);
    return owner && { value, owner };
  }

  #tokensOf(ctx: Context, bearer: Bearer | undefined): readonly string[] {
    return bearer ? [bearer.value] : this.#deps.cookie.read(ctx);
  }

  #find(ctx: Context, entry: ReadBefore): Found | Promise<Found> {
    const { requests } = this.#deps;
    const bearer = this.#bearerOf(ctx);
    entry.ambient = bearer === undefined;
    if (!requests || (bearer && !bearer.owner)) return this.#fromTokens(ctx, bearer);
    const decide = (answer: RequestIdentity | false | undefined): Found | Promise<Found> => {
      if (answer === undefined) return this.#fromTokens(ctx, bearer);
      if (answer === false) return undefined;
      entry.identity = answer;
      entry.ambient = answer.strategy.ambient;
      return answer.session;
    };
    const answer = requests.of(ctx, bearer?.owner);
    return answer instanceof Promise ? answer.then(decide) : decide(answer);
  }

  #fromTokens(ctx: Context, bearer: Bearer | undefined): Found | Promise<Found> {
    const { log, ownStore, revocations } = this.#deps;
    const candidates = this.#currentOf(this.#tokensOf(ctx, bearer), (session) =>
      log.reused(requestInfo(ctx), session, 'expired'),
    );
    if (candidates.length === 0) return undefined;
    const choose = (): Found | Promise<Found> =>
      this.#choose(ctx, candidates, bearer === undefined);
    const [owned, following] = [ownStore(), revocations.ready()];
    return owned || following ? Promise.all([owned, following]).then(choose) : choose();
  }

  /**
   * Returns the sessions whose tokens are valid at present, including ended sessions. If a session
   * has several tokens, the newest one counts.
   */
  #currentOf(values: readonly string[], onExpired: (session: Session) => void): readonly Session[] {
    const { tokens } = this.#deps;
    const found = new Map<string, Session>();
    for (const token of values) {
      const session = tokens.read(token);
      if (!session) continue;
      if (!tokens.isCurrent(session)) onExpired(session);
      else if (session.issuedAt.getTime() >= (found.get(session.id)?.issuedAt.getTime() ?? 0))
        found.set(session.id, session);
    }
    return [...found.values()];
  }

  #choose(ctx: Context, candidates: readonly Session[], ambient: boolean): Found | Promise<Found> {
    const { tokens, revocations, log } = this.#deps;
    const valid = candidates.filter((session) => {
      if (!revocations.has(session, tokens.signOutOf(session))) return true;
      if (isFirstInMinute(session)) log.reused(requestInfo(ctx), session, 'revoked');
      return false;
    });
    const [session, other] = valid;
    // Another host of the domain has planted one of the two (cookie tossing, RFC 6265bis section
    // 8.6).
    if (other) log.conflict(requestInfo(ctx));
    return session && !other ? this.#ifUnchanged(ctx, session, ambient) : undefined;
  }

  #ifUnchanged(ctx: Context, session: Session, ambient: boolean): Found | Promise<Found> {
    const { users, tokens, log } = this.#deps;
    const use = (same: boolean): Found => {
      if (same) return this.#use(ctx, session, ambient);
      if (isFirstInMinute(session)) log.found(requestInfo(ctx), session, 'user_changed');
      void this.#endChanged(session);
      return undefined;
    };
    const same = users.unchanged(session, tokens.versionOf(session));
    return typeof same === 'boolean' ? use(same) : same.then(use);
  }

  /**
   * Ends a session whose user has changed, so that it does not return when the user changes back.
   * The answer about the user may be older than the session, so the strategy is asked again. If the
   * store fails, the session has still ended in this process, which repeats the write.
   */
  async #endChanged(session: Session): Promise<void> {
    const { users, tokens, revocations, tokenExpiry } = this.#deps;
    if (this.#ending.has(session.id)) return;
    this.#ending.add(session.id);
    try {
      if (await users.hasChanged(session, tokens.versionOf(session)))
        await revocations.end(session.id, endOf(session, tokenExpiry));
    } catch {
      // See above.
    } finally {
      this.#ending.delete(session.id);
    }
  }

  /** Records that a session is in use. A session from a Bearer token has no cookie to renew. */
  #use(ctx: Context, valid: Session, ambient: boolean): Session {
    const { sessions, renew } = this.#deps;
    const session = renew && ambient ? renew(ctx, valid) : valid;
    sessions.touch(session, () => requestInfo(ctx));
    return session;
  }
}

const logged = new LRUCache<string, true>({ max: 1000, ttl: 60_000 });

/**
 * Limits log lines to one per minute and session, because a browser may keep sending the token of
 * an ended session.
 */
function isFirstInMinute({ id }: Session): boolean {
  if (logged.has(id)) return false;
  logged.set(id, true);
  return true;
}
