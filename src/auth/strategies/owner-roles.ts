import { isConfigured } from './configured-user.js';
import type { KnownUsers } from './known-users.js';
import type { StrategyRegistry } from './registry.js';
import type { RolesNow } from './roles-now.js';
import type { KnownUser, StrategyParts } from './strategy.js';
import { fullAccess } from './verdict.js';

/** Makes the function that returns the present roles of the users of all strategies. */
export function ownerRoles(
  registry: Pick<StrategyRegistry, 'get'>,
  users: Pick<KnownUsers, 'find'>,
): StrategyParts['rolesOf'] {
  return (strategy, username) => {
    const owner = registry.get(strategy);
    if (!owner) return undefined;
    if (!owner.find_user) return 'unknown';
    const read = (known: KnownUser | undefined): RolesNow => {
      if (!known) return undefined;
      const { roles, unchecked } = known;
      if (!roles) return isConfigured(owner) ? fullAccess : 'unknown';
      return unchecked ? { last: roles } : roles;
    };
    const found = users.find(strategy, username);
    return found instanceof Promise ? found.then(read) : read(found);
  };
}
