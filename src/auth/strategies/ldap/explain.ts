import type { DryRunUser, Explanation } from '../command-port.js';
import type { RolesOf } from '../roles.js';
import { type LdapUser, stateOf } from './account.js';
import { elsewhere } from './entries.js';
import { groupsOf, textsOfGroups } from './groups.js';
import type { LdapSettings } from './options.js';
import type { Ask } from './servers.js';
import { nameOf, searchUser } from './service-search.js';

interface ExplainDeps {
  settings: LdapSettings;
  ask: Ask;
  rolesOf: RolesOf<LdapUser>;
}

/** Finds a user with the service account, and explains the roles. No password is checked. */
export function explainUser(
  { settings, ask, rolesOf }: ExplainDeps,
  { username = '' }: DryRunUser,
  signal: AbortSignal,
): Promise<Explanation> {
  const { search } = settings;
  if (!search)
    throw new Error('a dry run needs a service account: use the option search instead of bindDN');
  if (username === '') throw new Error('a dry run of this strategy needs --user NAME');
  return ask(signal, async (connection) => {
    const { entry, isAmbiguous, isElsewhere } = await searchUser(
      connection,
      { search, attributes: [...settings.attributes, 'memberOf'] },
      username,
    );
    if (isElsewhere) throw new Error(elsewhere);
    if (!entry) return { roles: false, reason: isAmbiguous ? 'ambiguous' : 'unknown_user' };
    const name = nameOf(entry, { search });
    if (name === undefined) return { roles: false, reason: 'several_names' };
    const state = stateOf(entry);
    const found = { entry, username: name };
    const groups = await groupsOf(connection, found, settings.groups);
    const { dn } = entry;
    const explained = await rolesOf.explain({
      user: { username: name, dn, groups },
      listOf: () => textsOfGroups(groups),
    });
    const list = { name: 'groups', texts: groups };
    if (state !== undefined) return { username: name, list, roles: false, reason: state };
    return { username: name, ...explained, list };
  });
}
