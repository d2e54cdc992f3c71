import { isConfigured } from './configured-user.js';
import type { KnownUsers } from './known-users.js';
import type { FindOwner, OwnerNow } from './owner-now.js';
import type { StrategyRegistry } from './registry.js';
import type { KnownUser } from './strategy.js';
import { fullAccess } from './verdict.js';

/** Makes the function that returns what all strategies say at present about their users. */
export function ownersNow(
  registry: Pick<StrategyRegistry, 'get'>,
  users: Pick<KnownUsers, 'find' | 'ask'>,
): FindOwner {
  return (strategy, username, fresh) => {
    const owner = registry.get(strategy);
    if (!owner) return undefined;
    if (!owner.find_user) return { roles: undefined, unchecked: false, identity: undefined };
    const read = (known: KnownUser | undefined): OwnerNow | undefined =>
      known && {
        roles: known.roles ?? (isConfigured(owner) ? fullAccess : undefined),
        unchecked: known.unchecked === true,
        identity: known.identity,
      };
    const found = fresh ? users.ask(strategy, username) : users.find(strategy, username);
    return found instanceof Promise ? found.then(read) : read(found);
  };
}
