import { rangeError, typeError, wrongType } from '../../options.js';
import { wrongSecretType } from '../../secret-options.js';
import type { Secret } from '../secrets/secret.js';
import type { UserEntry } from './configured-user.js';
import { usersOf } from './multi-user.js';
import { StrategyRegistry } from './registry.js';
import { userOf } from './static-user.js';
import { type AuthStrategy, isStrategy, type Strategy } from './strategy.js';

/** The forms of the option `strategies`: a registry, one strategy, one user, or a list of users. */
export type Strategies =
  | StrategyRegistry
  | Strategy
  | readonly [username: string, password: Secret | undefined]
  | readonly UserEntry[];

/** The accepted forms, for error messages. */
const forms =
  "one user (['admin', password]), a list of users ([['alice', password], ['bob', password]]), " +
  'a strategy (such as an object with authenticate_user), or a StrategyRegistry';

/**
 * Returns a registry for any of the forms. A single strategy, one user or a list of users is
 * registered as `default`.
 *
 * @param others Other accepted forms of the option, for the error message. The caller has already
 * handled them.
 * @throws TypeError or RangeError with code INVALID_INPUT for any other value. The error never
 * contains the value, which may be a password.
 */
export function resolveStrategies(
  option: string,
  value: Strategies,
  others = '',
): StrategyRegistry {
  const accepted = forms + others;
  if (value instanceof StrategyRegistry) {
    if (value.names().length === 0)
      throw rangeError(`${option} is a registry without a strategy; register one first`);
    return value;
  }
  const registry = new StrategyRegistry();
  if (Array.isArray(value)) return registry.register('default', fromList(option, value, accepted));
  if (isStrategy(value)) return registry.register('default', value);
  throw wrongSecretType(option, value, accepted);
}

function fromList(option: string, list: readonly unknown[], accepted: string): AuthStrategy {
  const [first, second] = list;
  if (typeof first === 'string') {
    if (list.length !== 2) throw wrongType(option, list, accepted);
    const names = { where: option, username: `${option}[0]`, options: `${option}[2]` };
    return userOf([first, second], names);
  }
  if (list.length === 0)
    throw rangeError(
      `${option} is an empty list, so no user could sign in; it must be ${accepted}`,
    );
  if (list.some(isStrategy))
    throw typeError(
      `${option} is a list of strategies; register each under a name in a StrategyRegistry`,
    );
  return usersOf(list as readonly UserEntry[], option, option);
}
