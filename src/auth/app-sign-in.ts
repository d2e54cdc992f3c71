import type { Context } from 'koa';
import { TaskflowError } from '../errors.js';
import type { Role } from '../http/access.js';
import { outOfRange, typeError, wrongType } from '../options.js';
import { optionsObject } from '../options-object.js';
import { requestInfo } from './request-info.js';
import type { Cookies } from './sessions/cookies.js';
import type { SessionReader } from './sessions/current-session.js';
import type { Session } from './sessions/session.js';
import { type SetSessionDeps, setSession } from './sessions/set-session.js';
import type { SignIn } from './sign-in.js';
import type { StrategyRegistry } from './strategies/registry.js';
import { kindsOf } from './strategies/strategy.js';
import { isUserName, rolesOption } from './strategies/user-fields.js';

/** A user whom the app's own code has authenticated. */
export interface SignedInUser {
  /** The strategy to which the user belongs. It must be registered. */
  strategy: string;
  /** The canonical name of the user. */
  username: string;
  /** The roles of the user. Roles that `find_user` of the strategy returns take precedence. */
  roles: readonly Role[];
}

interface AppSignInDeps extends SetSessionDeps {
  registry: Pick<StrategyRegistry, 'get' | 'names'>;
  reader: Pick<SessionReader, 'replace' | 'tokensOf'>;
  cookies: Cookies;
  signIn: SignIn;
  usable: () => Promise<void> | undefined;
}

/** Makes the method `signIn` of a login. */
export function appSignIn(deps: AppSignInDeps) {
  const { registry, reader, cookies, signIn, usable } = deps;
  return async function signInUser(ctx: Context, user: SignedInUser): Promise<Session> {
    const { strategy, username, roles } = optionsObject<SignedInUser>('signIn', user, [
      'strategy',
      'username',
      'roles',
    ]);
    checkUser('signIn', registry, strategy, username);
    const found = registry.get(strategy);
    if (found && kindsOf(found)[0] === 'request')
      throw typeError(
        `strategy of signIn is '${strategy}', which identifies each request and opens no session`,
      );
    const checked = rolesOption('roles of signIn', roles);
    if (checked === undefined)
      throw wrongType('roles of signIn', roles, "a list of role names, such as ['viewer'] or []");
    await usable();
    const opening = {
      request: requestInfo(ctx),
      tokens: reader.tokensOf(ctx),
      cookieName: cookies.session.nameFor(ctx),
    };
    const how = { via: 'app', beganAt: Date.now() } as const;
    const opened = await signIn(opening, { strategy, username, roles: checked }, how);
    if (!opened)
      throw new TaskflowError('INVALID_CREDENTIALS', 'The user was signed out during the login.');
    reader.replace(ctx, opened.session);
    setSession(ctx, opened, username, deps);
    return opened.session;
  };
}

/**
 * Rejects a strategy or a name that cannot belong to a user. With a misspelt strategy, the call
 * would seem to succeed without signing anyone out.
 */
export function checkUser(
  method: string,
  registry: Pick<StrategyRegistry, 'get' | 'names'>,
  strategy: unknown,
  username: unknown,
): void {
  const names = registry.names();
  const accepted = `the name of a registered strategy (${names.join(', ')})`;
  if (typeof strategy !== 'string') throw wrongType(`strategy of ${method}`, strategy, accepted);
  if (!registry.get(strategy)) throw outOfRange(`strategy of ${method}`, strategy, accepted);
  if (!isUserName(username))
    throw wrongType(`username of ${method}`, username, 'a string of 1 to 256 printable characters');
}
