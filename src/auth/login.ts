import { randomBytes } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import type { Context } from 'koa';
import { TaskflowError } from '../errors.js';
import { clientAddress, networkOf } from '../http/client-address.js';
import { requestId } from '../http/request-id.js';
import type { FailReason } from './auth-log.js';
import type { Auth, AuthParts } from './create-auth.js';
import { HashQueueFull } from './passwords/hash-queue.js';
import { maxCookieBytes } from './sessions/cookies.js';
import { sessionsToEnd, setCurrentSession } from './sessions/current-session.js';
import { endSurplusSessions } from './sessions/open-sessions.js';
import { endOf, type Session } from './sessions/session.js';
import { usedFrom } from './sessions/session-list.js';
import type { Credentials } from './strategies/registry.js';
import type { AttemptGroup } from './throttle/familiar-places.js';
import type { OnThrottled } from './throttle/throttle.js';
import { type Verified, verifyLogin } from './verify-login.js';

/** What a login made. */
export interface LoggedIn {
  session: Session;
  token: string;
}

interface Found extends Verified {
  /** Failures before this success. */
  failures: number;
}

/**
 * Checks the credentials and opens a session, or throws: INVALID_CREDENTIALS, the same for every reason and not before the
 * throttle's floor, or THROTTLED without having asked anybody.
 */
export async function logIn(ctx: Context, auth: Auth, parts: AuthParts, form: Credentials, via: 'form' | 'json'): Promise<LoggedIn> {
  const started = performance.now();
  const found = await authenticate(ctx, parts, form);
  if (!found) {
    const { limits } = parts;
    if (limits) await setTimeout(Math.max(0, limits.floor * 1000 - (performance.now() - started)));
    throw new TaskflowError('INVALID_CREDENTIALS', 'Invalid username or password.', {
      headers: { 'WWW-Authenticate': 'Bearer realm="koa-taskflow"' },
    });
  }
  const { failures, ...user } = found;
  const { session, token } = createSession(parts, user);
  refuseOversized(ctx, parts, { session, token }, failures + 1);
  const opened = await openSession(ctx, auth, parts, { session, token });
  await parts.familiar.rememberNetwork(ctx, form.username, user);
  parts.log.success(ctx, opened.session, { via, durationMs: Math.round(performance.now() - started), failures });
  return opened;
}

/** Tells the log of refusals. */
export function tellThrottled(ctx: Context, { log }: AuthParts, username: string | undefined): OnThrottled {
  return (bucket, retryAfter, refused) => log.throttled(ctx, bucket, retryAfter, refused, username);
}

/** A group of strategies that let no user in. */
interface Failure {
  reason: FailReason;
  /** How many in a row have failed with this one. */
  attempt: number;
}

/**
 * Tries one group after the other. An attempt that fails is one line in the log, however many groups it was tried in. One that
 * succeeds writes no failure, but a group that rejected it has counted it.
 */
async function authenticate(ctx: Context, parts: AuthParts, form: Credentials): Promise<Found | undefined> {
  const failures: Failure[] = [];
  let found: Found | undefined;
  try {
    for (const group of await parts.familiar.groupsOf(ctx, form)) {
      found = await tryGroup(ctx, parts, { form, group, failures });
      if (found) break;
    }
  } catch (error) {
    // This browser or network already got an answer, so the limit for strangers must not replace it.
    if (failures.length === 0 || !(error instanceof TaskflowError && error.code === 'THROTTLED')) throw error;
  } finally {
    if (!found && failures.length > 0) logFailure(ctx, parts, form.username, failures);
  }
  return found;
}

/** Writes the highest count, and the reason that says more than a wrong password, if there is one. */
function logFailure(ctx: Context, { log }: AuthParts, username: string, failures: readonly Failure[]): void {
  const reason = failures.find((failure) => failure.reason !== 'bad_credentials')?.reason ?? 'bad_credentials';
  log.fail(ctx, reason, username, Math.max(...failures.map(({ attempt }) => attempt)));
}

interface Trial {
  form: Credentials;
  group: AttemptGroup;
  /** Gets the failure of this group, before it is counted. */
  failures: Failure[];
}

async function tryGroup(ctx: Context, parts: AuthParts, { form, group, failures }: Trial): Promise<Found | undefined> {
  const { familiar, strategies } = group;
  const { registry, throttle, log } = parts;
  const { username, password } = form;
  const address = clientAddress(ctx);
  const onThrottled = tellThrottled(ctx, parts, username);
  const counted = await throttle.enter({ username, address, familiar }, onThrottled);
  let reason: FailReason = strategies.some((name) => registry.get(name)) ? 'bad_credentials' : 'unknown_strategy';
  const context = {
    ip: address,
    requestId: requestId(ctx),
    hashes: { address: networkOf(address), queue: parts.queue, trusted: familiar !== undefined },
    onError(name: string, error: unknown, durationMs: number) {
      reason = error instanceof Error && error.name === 'TimeoutError' ? 'timeout' : 'strategy_error';
      log.strategyError(ctx, name, error, durationMs, [password, username]);
    },
    onChanged() {
      reason = 'user_changed';
    },
  };
  let found: Verified | undefined;
  let answered = 0;
  try {
    for (const strategy of strategies) {
      found = await verifyLogin(parts, { ...form, strategy }, context);
      if (found) break;
      answered += 1;
    }
  } catch (error) {
    // If a strategy has answered already, a guess was made, and it counts.
    await (answered === 0 ? counted.withdrawn() : counted.failed());
    throw error instanceof HashQueueFull ? throttle.busy(error.retryAfter, onThrottled) : error;
  }
  if (found) {
    await counted.succeeded();
    return { ...found, failures: counted.attempt - 1 };
  }
  failures.push({ reason, attempt: counted.attempt });
  // If the store does not answer, the response is 503 as for a right password. The attempt stays counted as one under way.
  await counted.failed();
  return undefined;
}

function createSession({ tokens, tokenExpiry, idleTimeout = tokenExpiry }: AuthParts, user: Verified): LoggedIn {
  const { version, signOut, authenticatedAt, username, strategy, roles } = user;
  const session: Session = {
    id: randomBytes(16).toString('base64url'),
    username,
    strategy,
    roles,
    issuedAt: authenticatedAt,
    expiresAt: new Date(authenticatedAt.getTime() + Math.min(tokenExpiry, idleTimeout) * 1000),
    authenticatedAt,
  };
  return { session, token: tokens.sign(session, version, signOut) };
}

/** Bytes by which the cookie of a session may grow: a renewed token has times with fractions, and HTTPS adds `__Host-`. */
const reserved = 64;

/**
 * Refuses a session whose cookie browsers would drop: the login would seem to work, and the next page would ask for it again.
 * The limit is the same for a Bearer token, which is read up to that size.
 */
function refuseOversized(ctx: Context, { cookies, log }: AuthParts, { session, token }: LoggedIn, attempt: number): void {
  const bytes = cookies.session.nameFor(ctx).length + token.length + reserved;
  if (bytes <= maxCookieBytes) return;
  const { strategy, username } = session;
  const text = `the username and the roles of the user make a session cookie of ${bytes} bytes, but browsers keep at most ${maxCookieBytes}; return a shorter username, or fewer or shorter roles`;
  log.strategyError(ctx, strategy, new RangeError(text), 0, []);
  log.fail(ctx, 'strategy_error', username, attempt);
  const message =
    'The login could not be completed, because the data of your account is too long for a session. Ask the administrator of this site.';
  throw new TaskflowError('FORBIDDEN', message);
}

/** Opens a new session, and ends those that the request came with, so that nothing from before a login outlives it. */
async function openSession(ctx: Context, auth: Auth, parts: AuthParts, { session, token }: LoggedIn): Promise<LoggedIn> {
  const { revocations, tokens, sessions, tokenExpiry } = parts;
  const before = await sessionsToEnd(ctx, parts);
  // A process that does not know which sessions were ended would not accept the new one either.
  await revocations.ready();
  await Promise.all(before.map((each) => revocations.end(each.id, endOf(each, tokenExpiry))));
  await sessions.put(session, tokens.signOutOf(session), usedFrom(ctx));
  await endSurplusSessions(ctx, parts, session);
  setCurrentSession(ctx, auth, session);
  return { session, token };
}
