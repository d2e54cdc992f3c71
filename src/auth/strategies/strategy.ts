import type { Context } from 'koa';
import type { AuditEvent, Role } from '../../http/access.js';
import type { Logger } from '../../options.js';
import type { SharedStore } from '../../store/shared-store.js';
import type { CommandExtras } from './command-port.js';
import type { FindOwner } from './owner-now.js';

/**
 * The answer of a strategy. Only `true` or an object with `ok: true` accepts the user. A strategy
 * that cannot tell whether the user is right must throw instead.
 */
export type Verdict =
  | boolean
  | Rejected
  | {
      ok: true;
      /**
       * Name of the session's user, 1 to 256 printable characters. Default: the name as typed. A
       * strategy that accepts several spellings of a name must return the canonical name here.
       * Sessions, the session list and `signOutEverywhere` use it.
       */
      username?: string;
      /**
       * Roles of the session, at most 32 with at most 64 characters each. Default: `['admin']`,
       * which is full access; for `authenticate_request`, `[]`. With `[]`, the user may only read.
       * Roles that `find_user` returns take precedence.
       */
      roles?: readonly Role[];
    };

/** A verdict that rejects the user and gives the reason. */
export interface Rejected {
  ok: false;
  /**
   * Why the user was rejected, for the log: 1 to 32 lower-case letters and `_`, such as `locked`.
   * Any other text is logged as `other`. The login page shows the same text for all reasons.
   */
  reason?: string;
}

/** The data of an attempt that a strategy receives in addition to the credentials. */
export interface AuthContext {
  /** Aborts when the call exceeds the time limit of the strategy. Later answers are ignored. */
  signal: AbortSignal;
  /** Address of the client. It comes from a proxy header only with `app.proxy`. */
  ip: string;
  /** The request id, as in the log. */
  requestId: string;
}

/** The second argument of `find_user`. */
export interface FindUserContext {
  /** Aborts when the call exceeds the time limit of the strategy. Later answers are ignored. */
  readonly signal: AbortSignal;
  /**
   * `'version'` before a password is checked. Then only `version` and `identity` count, and a
   * strategy should not read roles: otherwise, the time of a failed login reveals that the user
   * exists. Absent in all other calls.
   */
  readonly only?: 'version' | undefined;
}

/** The state of a user, independent of a login. */
export interface KnownUser {
  /**
   * A text that changes with every change of the password, such as the stored hash. The date of the
   * change is not enough, because two changes may have the same date.
   */
  version: string;
  /**
   * A text that belongs to the account for ever and to no other one, such as the id of its row: 1
   * to 256 printable characters. If another account gets the name, sessions and API tokens of the
   * first one are not valid for it.
   */
  identity?: string | undefined;
  /**
   * Roles of the user, at most 32 with at most 64 characters each. They take precedence over the
   * roles of the verdict.
   */
  roles?: readonly Role[] | undefined;
  /**
   * Whether the roles are those of an earlier time, because the strategy cannot ask for them again.
   * An API token of the user is then valid for at most 30 days. Default `false`.
   */
  unchecked?: boolean | undefined;
}

/** What a strategy gets from the login that uses it. */
export interface StrategyParts {
  /** The name under which the strategy is registered. */
  readonly name: string;
  /** The path of the login. */
  readonly path: string;
  /**
   * The store of the login, limited to keys of this strategy. All processes of the login share it.
   */
  readonly store: StrategyStore;
  /** Whether the store keeps its entries when this process ends. */
  readonly storeLasts: boolean;
  /** Seconds that a session of the login lasts. */
  readonly tokenExpiry: number;
  /** Encrypts a text for the store. Only a login with the same `secretKey` can decrypt it. */
  encrypt(text: string): string;
  /**
   * Decrypts a text that {@link encrypt} returned. Returns `undefined` if it was changed or was
   * encrypted with another key.
   */
  decrypt(text: string): string | undefined;
  /**
   * Ends one session or all sessions of a user of this strategy, in all processes. Resolves when
   * the store has recorded it.
   */
  endSessions(user: EndedUser): Promise<void>;
  /**
   * Resolves to whether a session of a user of this strategy was ended, by any process. `since` is
   * when its login began, in Unix milliseconds.
   */
  hasEnded(session: { username: string; sessionId: string; since: number }): Promise<boolean>;
  /**
   * Tells the login that users of this strategy may have changed in this process. It asks
   * `find_user` again at once for open streams, and for the next request of each session.
   */
  usersChanged(): void;
  /** Returns what another strategy says at present about a user. */
  readonly ownerOf: FindOwner;
  /** Whether a strategy of this name that has `find_user` is registered. */
  hasStrategy(name: string): boolean;
  /** Counts a wrong token by its address. Rejects with THROTTLED if there were too many. */
  countWrongToken(ctx: Context): Promise<void>;
  /** Adds a row to the audit. Never rejects. */
  record(event: Pick<AuditEvent, 'action' | 'actor' | 'detail'>): Promise<void>;
  /** The logger of the login. Its lines name the strategy and the path of the login. */
  readonly logger: Logger;
  /** Returns the present time in Unix milliseconds. */
  now(): number;
}

/** The part of a {@link SharedStore} that a strategy may use. */
export type StrategyStore = Pick<
  SharedStore,
  'get' | 'set' | 'replace' | 'increment' | 'list' | 'watch'
>;

/** What strategies of all kinds may have. */
export interface StrategyExtras extends CommandExtras {
  /** The name of the strategy on the login page. Default: the name of its registration. */
  readonly label?: string | undefined;
  /**
   * Resolves if the server that the strategy asks answers, and rejects with the reason otherwise. A
   * strategy that asks no server has no such method.
   */
  check?(signal: AbortSignal): PromiseLike<void>;
  /** Called once, by the login that uses the strategy. */
  attach?(parts: StrategyParts): void;
  /**
   * Returns the state of a user, or `undefined` if there is no such user. May return a thenable.
   * Optional. The name is the canonical name, or a name that a user typed. A login calls this
   * before and after the password check, and is rejected if the version changed in between. The
   * call before the check has `only: 'version'`. When the version or the roles change, the sessions
   * of the user end. An error that the method throws may have its own `staleFor`, which counts for
   * this user if it is less than that of the strategy.
   */
  find_user?(
    username: string,
    context: FindUserContext,
  ): KnownUser | undefined | PromiseLike<KnownUser | undefined>;
  /**
   * Seconds for which the last answer of `find_user` about a user holds while the method fails, at
   * most `tokenExpiry` of the login. Then requests of the user get 503. A removed user may stay
   * signed in for that long. Default 900.
   */
  readonly staleFor?: number | undefined;
}

/** A strategy that checks a username and a password against a list, a database or a directory. */
export interface AuthStrategy extends StrategyExtras {
  /**
   * Checks the credentials exactly as the user typed them. May return the verdict or a thenable of
   * it. If it throws or rejects, the error is logged and the login is rejected.
   */
  authenticate_user(
    username: string,
    password: string,
    context: AuthContext,
  ): Verdict | PromiseLike<Verdict>;
  /**
   * Whether the strategy answers without another server. If a login names no strategy, the local
   * ones are asked first, so that a directory that does not answer delays only its own users.
   * Default `false`.
   */
  readonly local?: boolean | undefined;
}

/** One attempt to sign in at a provider: from the redirect to the provider until the callback. */
export interface RedirectAttempt extends AuthContext {
  /** The URL of the callback. It must be registered at the provider exactly as it is here. */
  readonly redirectUri: string;
  /** The parameter `state`: a random text that the provider must return unchanged. */
  readonly state: string;
  /**
   * Texts that `begin` stores here for `complete`, such as a nonce: at most 512 bytes as JSON. The
   * browser keeps them in an encrypted cookie.
   */
  readonly data: Record<string, string>;
  /** The id of the session that opens if the attempt succeeds. */
  readonly sessionId: string;
}

/** Why a provider's user was rejected, if the page may say so. Each has a fixed text. */
export type RejectedPage = 'no_role' | 'no_name' | 'too_many_groups' | 'name_taken' | 'unavailable';

/** The answer of a {@link RedirectStrategy}. */
export type RedirectVerdict =
  | Verdict
  | (Rejected & {
      /** The text that the page shows. Default: that the sign-in failed. */
      page?: RejectedPage;
      /** The name that the provider gave, for the page and the log. */
      username?: string;
    });

/** A strategy that sends the browser to a provider, which authenticates the user. */
export interface RedirectStrategy extends StrategyExtras {
  /**
   * Returns the URL of the provider to which the browser is sent. Throws or rejects if the provider
   * does not answer.
   */
  begin(ctx: Context, attempt: RedirectAttempt): string | PromiseLike<string>;
  /** Checks the callback of the provider. The suite has already checked `state`. */
  complete(ctx: Context, attempt: RedirectAttempt): RedirectVerdict | PromiseLike<RedirectVerdict>;
  /**
   * Returns the URL at which the user signs out at the provider, at most 2800 characters. Called
   * when the session has ended here. Returns `undefined` if the provider has no such page.
   */
  logoutUrl?(session: EndedSession): string | undefined | PromiseLike<string | undefined>;
  /**
   * Reads a message in which the provider says that sessions have ended (back-channel logout).
   * Returns the users whose sessions end, or `undefined` if the message is not valid.
   */
  sessionsEnded?(
    form: Readonly<Record<string, string>>,
    context: AuthContext,
  ): readonly EndedUser[] | undefined | PromiseLike<readonly EndedUser[] | undefined>;
}

/** A session that has ended here, for {@link RedirectStrategy.logoutUrl}. */
export interface EndedSession {
  readonly id: string;
  readonly username: string;
  /** The URL to which the provider may send the browser afterwards. */
  readonly returnTo: string;
}

/** Whose sessions end: one session, or all sessions of a user. */
export interface EndedUser {
  readonly username: string;
  /** The id of the only session that ends. Default: all sessions of the user end. */
  readonly sessionId?: string | undefined;
}

/**
 * A strategy that identifies the user of each request, such as by a header that a proxy adds or by
 * an API token. It opens no session and sets no cookie. Register it before `createAuth` is called.
 */
export interface RequestStrategy extends StrategyExtras {
  /**
   * Identifies the user of a request. Returns `undefined` if the request has no proof for this
   * strategy. Then the next strategy is asked, and finally the session cookie decides. Any other
   * verdict decides, `false` included: the request is then anonymous, whatever its cookie says. A
   * verdict that accepts the user must have `username`. If the method throws or rejects, the
   * request is answered with 503. If it returns no thenable, requests wait for no promise.
   *
   * If `ambient` is `false`, it is called again every five seconds while a stream of the request is
   * open. The stream ends when the user or the roles are no longer the same.
   */
  authenticate_request(
    ctx: Context,
    context: AuthContext,
  ): Verdict | undefined | PromiseLike<Verdict | undefined>;
  /**
   * Whether a browser or a proxy adds the proof by itself. Requests that another site made the
   * browser send are then refused, as with a cookie, and a stream ends after 60 seconds, so that
   * the proxy decides again when the client reconnects. `false` only for a proof that a script must
   * add, such as an `Authorization` header.
   */
  readonly ambient: boolean;
  /**
   * Whether the value of `Authorization: Bearer` is a token of this strategy, valid or not, such as
   * by its prefix. Such a value decides alone: neither another strategy nor the cookie is asked.
   */
  ownsBearer?(value: string): boolean;
  /**
   * The URL at which users sign out. The sign-out of this suite leads there, because it cannot end
   * what identifies the requests. Without it, the sign-out answers that the proxy decides.
   */
  readonly logoutUrl?: string | undefined;
}

/** A strategy of any kind. */
export type Strategy = AuthStrategy | RedirectStrategy | RequestStrategy;

/** The kinds of strategies. Each has its own methods. */
export type StrategyKind = 'password' | 'redirect' | 'request';

/** The methods by which a strategy of each kind is recognized. */
const methodsByKind: Readonly<Record<StrategyKind, readonly string[]>> = {
  password: ['authenticate_user'],
  redirect: ['begin', 'complete'],
  request: ['authenticate_request'],
};

/** Returns the kinds whose methods a value has. A strategy has exactly one kind. */
export function kindsOf(value: unknown): readonly StrategyKind[] {
  if (typeof value !== 'object' || value === null) return [];
  const methods = value as Record<string, unknown>;
  return (Object.keys(methodsByKind) as StrategyKind[]).filter((kind) =>
    methodsByKind[kind].every((method) => typeof methods[method] === 'function'),
  );
}

/** Returns the names of the methods by which a strategy signs users in, for error messages. */
export function methodsOf(strategy: Strategy): string {
  const [kind] = kindsOf(strategy);
  return kind ? methodsByKind[kind].join(' and ') : '';
}

/** Whether a value is a strategy. */
export function isStrategy(value: unknown): value is Strategy {
  return kindsOf(value).length === 1;
}

/** Whether a strategy identifies the user of each request. */
export function isRequestStrategy(strategy: Strategy | undefined): strategy is RequestStrategy {
  return strategy !== undefined && kindsOf(strategy)[0] === 'request';
}

/** Whether a strategy checks a username and a password. */
export function isPasswordStrategy(strategy: Strategy | undefined): strategy is AuthStrategy {
  return strategy !== undefined && kindsOf(strategy)[0] === 'password';
}

/** Whether a strategy sends the browser to a provider. */
export function isRedirectStrategy(strategy: Strategy | undefined): strategy is RedirectStrategy {
  return strategy !== undefined && kindsOf(strategy)[0] === 'redirect';
}
