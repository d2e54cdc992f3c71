import type { Context } from 'koa';
import { TaskflowError } from '../errors.js';
import { networkOf } from '../http/client-address.js';
import type { AuthLog } from './auth-log.js';
import type { LoginAttempt } from './login-attempt.js';
import { HashQueueFull } from './passwords/hash-queue.js';
import { requestInfo } from './request-info.js';
import type { Health } from './strategies/health.js';
import type { StrategyRegistry } from './strategies/registry.js';
import { isPasswordStrategy } from './strategies/strategy.js';
import type { AttemptGroup, FamiliarPlaces } from './throttle/familiar-places.js';
import type { OnThrottled, Throttle } from './throttle/throttle.js';
import { type Verified, type VerifyDeps, verifyLogin } from './verify-login.js';

/*
 * Checks the credentials of one attempt:
 *
 * 1. `FamiliarPlaces` sorts the strategies to ask into groups: those that know this browser or
 *    network come first, and each of them has its own limits.
 * 2. For each group, `Throttle` counts the attempt before any password is checked, or refuses it.
 * 3. `verifyLogin` asks the strategies of the group in turn, until one accepts the user.
 * 4. The count of the group is settled: failed, succeeded, or withdrawn if no password was checked.
 *
 * A failed attempt is one line in the log, even if several groups rejected it. A successful attempt
 * logs no failure. But the groups that rejected it before have counted it as failed.
 */

/** A user whose credentials are right. */
export interface AuthenticatedLogin {
  user: Verified;
  /** Number of consecutive failures before this success. */
  failures: number;
}

/** The parts that a check of credentials uses. */
export interface AuthenticateDeps {
  registry: StrategyRegistry;
  users: VerifyDeps['users'];
  revocations: VerifyDeps['revocations'];
  familiar: Pick<FamiliarPlaces, 'groupsOf'>;
  throttle: Pick<Throttle, 'enter' | 'busy'>;
  log: Pick<AuthLog, 'fail' | 'throttled' | 'strategyError'>;
  health: Pick<Health, 'answered' | 'failed'>;
  /** Number of password checks that may wait. */
  queue: number;
}

/** The failure of a group in which no strategy accepted the user. */
interface Failure {
  reason: string;
  /** Number of consecutive failures, including this one. */
  attempt: number;
}

interface Trial {
  attempt: LoginAttempt;
  group: AttemptGroup;
  /** The failure of this group is added here before it is counted. */
  failures: Failure[];
}

/**
 * Makes the function that checks the credentials of an attempt. The function resolves to
 * `undefined` if they are wrong.
 */
export function createAuthenticate(deps: AuthenticateDeps) {
  const { familiar, log } = deps;
  return async function authenticate(
    attempt: LoginAttempt,
  ): Promise<AuthenticatedLogin | undefined> {
    const failures: Failure[] = [];
    let found: AuthenticatedLogin | undefined;
    try {
      for (const group of await familiar.groupsOf({ ...attempt, address: attempt.request.ip })) {
        found = await tryGroup(deps, { attempt, group, failures });
        if (found) break;
      }
    } catch (error) {
      // This browser or network already got an answer. A refusal by the limits for unknown browsers
      // must not replace it.
      const isRefused = error instanceof TaskflowError && error.code === 'THROTTLED';
      if (failures.length === 0 || !isRefused) throw error;
    } finally {
      if (!found && failures.length > 0) logFailure(log, attempt, failures);
    }
    return found;
  };
}

/** Makes the callback that logs refusals of an attempt. */
export function logThrottled(
  log: Pick<AuthLog, 'throttled'>,
  request: LoginAttempt['request'],
  username: string | undefined,
): OnThrottled {
  return (bucket, retryAfter, refused) =>
    log.throttled(request, bucket, retryAfter, refused, username);
}

/** Counts a wrong API token by its address. Rejects with THROTTLED if there were too many. */
export async function countWrongToken(
  ctx: Context,
  throttle: Pick<Throttle, 'malformed'>,
  log: Pick<AuthLog, 'throttled'>,
): Promise<void> {
  const request = requestInfo(ctx);
  await throttle.malformed(request.ip, logThrottled(log, request, undefined), 'token');
}

/**
 * Logs the highest failure count. The reason is a wrong password unless a group failed for another
 * reason.
 */
function logFailure(
  log: Pick<AuthLog, 'fail'>,
  { request, username }: LoginAttempt,
  failures: readonly Failure[],
): void {
  const other = failures.find(({ reason }) => reason !== 'bad_credentials');
  const highest = Math.max(...failures.map(({ attempt }) => attempt));
  log.fail(request, other?.reason ?? 'bad_credentials', username, highest);
}

async function tryGroup(
  deps: AuthenticateDeps,
  { attempt, group, failures }: Trial,
): Promise<AuthenticatedLogin | undefined> {
  const { registry, throttle, log, health, queue } = deps;
  const { familiar, strategies } = group;
  const { username, password, request } = attempt;
  const onThrottled = logThrottled(log, request, username);
  const counted = await throttle.enter({ username, address: request.ip, familiar }, onThrottled);
  const isKnown = strategies.some((name) => isPasswordStrategy(registry.get(name)));
  let reason: string = isKnown ? 'bad_credentials' : 'unknown_strategy';
  let hasFailed = false;
  const context = {
    ip: request.ip,
    requestId: request.requestId,
    hashes: { address: networkOf(request.ip), queue, trusted: familiar !== undefined },
    onError(name: string, error: unknown, durationMs: number) {
      const isTimeout = error instanceof Error && error.name === 'TimeoutError';
      reason = isTimeout ? 'timeout' : 'strategy_error';
      hasFailed = true;
      health.failed(name, error, [password, username]);
      log.strategyError(request, name, error, durationMs, [password, username]);
    },
    onRejected(_strategy: string, why: string) {
      reason = why;
    },
    onChanged() {
      reason = 'user_changed';
    },
  };
  let user: Verified | undefined;
  let answered = 0;
  try {
    for (const strategy of strategies) {
      hasFailed = false;
      user = await verifyLogin(deps, { username, password, strategy }, context);
      if (!hasFailed && isPasswordStrategy(registry.get(strategy)))
        health.answered(strategy, user ? 'login' : 'rejected');
      if (user) break;
      answered += 1;
    }
  } catch (error) {
    // If a strategy has already answered, it has checked a password, so the attempt counts.
    await (answered === 0 ? counted.withdrawn() : counted.failed());
    throw error instanceof HashQueueFull ? throttle.busy(error.retryAfter, onThrottled) : error;
  }
  if (user) {
    await counted.succeeded();
    return { user, failures: counted.attempt - 1 };
  }
  failures.push({ reason, attempt: counted.attempt });
  // If the store does not answer, the response is 503, the same as for a right password. The
  // attempt then keeps counting as one in progress.
  await counted.failed();
  return undefined;
}
