import { rangeError, wrongSecret, wrongType } from '../options.js';
import { multiUser, staticUser, type UserEntry } from './multi-user.js';
import { StrategyRegistry } from './registry.js';
import { type AuthStrategy, isStrategy } from './strategy.js';

/** The ways to say who may log in: a registry, one strategy, one user, or a list of users. */
export type Strategies = StrategyRegistry | AuthStrategy | readonly [username: string, password: string | undefined] | readonly UserEntry[];

const accepted =
  "['admin', 'secret'], [['alice', 'password'], ['bob', 'password']], an object with authenticate_user, or a StrategyRegistry";

/** A registry of whatever form was given; a short form is registered as `default`. */
export function resolveStrategies(option: string, value: Strategies): StrategyRegistry {
  if (value instanceof StrategyRegistry) {
    if (value.names().length === 0) throw rangeError(`${option} is a registry without a strategy; register one first`);
    return value;
  }
  const registry = new StrategyRegistry();
  if (Array.isArray(value)) return registry.register('default', fromList(option, value));
  if (isStrategy(value)) return registry.register('default', value);
  // A text may be a password.
  throw typeof value === 'string' ? wrongSecret(option, accepted, TypeError) : wrongType(option, value, accepted);
}

function fromList(option: string, list: readonly unknown[]): AuthStrategy {
  const [first, second] = list;
  if (typeof first === 'string') {
    if (list.length !== 2) throw wrongType(option, list, accepted);
    return staticUser(first, second as string | undefined);
  }
  if (list.length === 0) throw rangeError(`${option} is an empty list, so no one could sign in; it must be ${accepted}`);
  return multiUser(list as readonly UserEntry[]);
}
