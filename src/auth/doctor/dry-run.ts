import type { DryRunUser, Explanation } from '../strategies/command-port.js';
import type { StrategyRegistry } from '../strategies/registry.js';
import type { Strategy } from '../strategies/strategy.js';
import { strategyOf } from './strategy-findings.js';

/*
 * The dry run: which roles a user would get, and why. It checks no password, so it exists on the
 * command line only.
 */

/** Asks a strategy about a user. */
export async function dryRun(
  registry: StrategyRegistry,
  name: string,
  user: DryRunUser,
): Promise<Explanation> {
  const strategy = strategyOf(registry, name);
  const { username } = user;
  if (strategy.explain)
    return registry.call(
      strategy,
      (signal) => strategy.explain?.(user, { signal }) ?? { roles: false },
    );
  if (username === undefined) throw new Error('pass the name of the user: --user NAME');
  return known(registry, strategy, username);
}

/** Explains a user of a strategy that has only `find_user`. */
async function known(
  registry: StrategyRegistry,
  strategy: Strategy,
  username: string,
): Promise<Explanation> {
  if (!strategy.find_user)
    throw new Error('this strategy cannot tell the roles of a user without a login');
  const found = await registry.find(strategy, username);
  if (!found) return { roles: false, reason: 'unknown_user' };
  if (found.roles === undefined)
    throw new Error('find_user returns no roles, so only a login shows them');
  return { username, roles: found.roles };
}

/** What the reasons mean. */
const reasons: Readonly<Record<string, string>> = {
  unknown_user: 'there is no such user, or no role lets the user in',
  ambiguous: 'several entries match the name; narrow the filter or the base',
  several_names: 'the attribute search.username of the entry has several values',
  disabled: 'the account is disabled',
  locked: 'the account is locked, unless the lock has expired',
  expired: 'the account or its password has expired',
  no_name: 'the claims have no usable name; set the option username to another claim',
  too_many_groups: 'the provider left out the groups, because there are too many for the token',
};

/** Texts of a list that are shown. */
const maxShown = 50;

/** Returns the text that a terminal shows. */
export function explanationText(name: string, explanation: Explanation): string {
  const { username, list, rows, roles, reason } = explanation;
  const lines: [what: string, text: string][] = [];
  if (username !== undefined) lines.push(['user', username]);
  if (list) {
    const { texts } = list;
    const more = texts.length > maxShown ? [`and ${texts.length - maxShown} more`] : [];
    lines.push([list.name, [...texts.slice(0, maxShown), ...more].join('\n') || 'none']);
  }
  if (rows)
    lines.push([
      'rows',
      rows.map((row) => `${row.row} → ${rolesText(row.roles)}`).join('\n') || 'no row matches',
    ]);
  const noRole = rows
    ? 'no row of the table matches, and the option otherwise is false'
    : 'no role lets this user in';
  if (roles !== false) lines.push(['roles', rolesText(roles)]);
  else lines.push(['rejected', reason === undefined ? noRole : (reasons[reason] ?? reason)]);
  const width = Math.max(...lines.map(([what]) => what.length)) + 2;
  const body = lines.map(([what, text]) => {
    const [first = '', ...rest] = text.split('\n');
    const indented = rest.map((line) => `\n${' '.repeat(width + 2)}${line}`).join('');
    return `  ${what.padEnd(width)}${first}${indented}\n`;
  });
  return `Dry run of ${name}; no password was checked\n${body.join('')}`;
}

function rolesText(roles: readonly string[]): string {
  return roles.length === 0 ? 'none: the user may only read' : roles.join(', ');
}
