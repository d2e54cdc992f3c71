import type { Role } from '../../http/access.js';
import { outOfRange, typeError, wrongType } from '../../options.js';
import { optionsObject } from '../../options-object.js';
import type { Explanation, MatchingRow } from './command-port.js';
import { isThenable } from './thenable.js';
import { isRoleList, isUserName, rolesOption } from './user-fields.js';

/** A table that gives a user roles by a list of texts that the source has, such as groups. */
export interface RolesTable {
  /**
   * What the source calls the list, such as `groups`. Each strategy documents its names and its
   * default.
   */
  from?: string | undefined;
  /** The roles for each text. A user gets the roles of all matching rows. */
  map: Readonly<Record<string, Role | readonly Role[]>>;
  /**
   * The roles of a user without a matching row; `false` rejects the login. Default `false`.
   */
  otherwise?: false | readonly Role[] | undefined;
}

/**
 * How a strategy gives roles: the same ones to each user, by a table, or by a function that returns
 * the roles, or `false` to reject the login.
 */
export type RolesRule<User> =
  | readonly Role[]
  | RolesTable
  | ((user: User) => readonly Role[] | false | PromiseLike<readonly Role[] | false>);

/** What a strategy knows about a user. */
interface RoleSource<User> {
  /** The argument of a function. */
  user: User;
  /** Returns the texts of a list by the name in `from`. */
  listOf(from: string): readonly string[];
}

type Roles = readonly Role[] | false;

/** Gives roles to users. */
export interface RolesOf<User> {
  /**
   * Returns the roles of a user, or `false` if no role lets the user in. Returns a promise only if
   * the rule is a function that returns a thenable.
   */
  (source: RoleSource<User>): Roles | Promise<Roles>;
  /** Resolves to the roles of a user, and to the list and the rows that decided. */
  explain(source: RoleSource<User>): Promise<ExplainedRoles>;
}

type ExplainedRoles = Pick<Explanation, 'roles' | 'list' | 'rows'>;

interface RuleOptions {
  /** The value of `from` if a table has none. Without it, a table must have one. */
  from?: string;
  /** The names that `from` accepts, if the strategy knows all of them. Default: any name. */
  lists?: readonly string[];
  /** Returns the form of a text by which rows are compared. Default: the text itself. */
  normalize?(text: string): string;
}

const acceptedRules =
  "a list of roles, a table such as { map: { sre: 'operator' } }, or a function";

/**
 * Reads the option `roles` of a strategy.
 *
 * @throws TypeError if it is neither a list of roles, a table nor a function. RangeError if a table
 * reads a list that the strategy does not have.
 */
export function rolesRule<User>(
  option: string,
  rule: RolesRule<User> | undefined,
  { from: defaultFrom, lists, normalize = (text) => text }: RuleOptions = {},
): RolesOf<User> {
  if (typeof rule === 'function')
    return withoutList(({ user }) => {
      const roles = rule(user);
      return isThenable(roles) ? Promise.resolve(roles).then(checked) : checked(roles);
    });
  if (rule === undefined || Array.isArray(rule)) {
    const roles = rolesOption(option, rule) ?? [];
    return withoutList(() => roles);
  }
  if (typeof rule !== 'object' || rule === null) throw wrongType(option, rule, acceptedRules);
  if (!('map' in rule))
    throw typeError(`${option} is an object without map; it must be ${acceptedRules}`);
  const table = optionsObject<RolesTable>(
    option,
    rule as RolesTable,
    ['from', 'map', 'otherwise'],
    true,
  );
  const { from = defaultFrom, map, otherwise = false } = table;
  if (typeof from !== 'string' || from === '')
    throw wrongType(`${option}.from`, from, "the name of a list, such as 'groups'");
  if (lists && !lists.includes(from))
    throw outOfRange(`${option}.from`, from, `one of: ${lists.join(', ')}`);
  if (typeof map !== 'object' || map === null || Array.isArray(map))
    throw wrongType(`${option}.map`, map, "a table such as { sre: 'operator' }");
  const rows = new Map<string, MatchingRow>();
  for (const [text, roles] of Object.entries(map)) {
    const name = `${option}.map['${text}']`;
    const row = rolesOption(name, isUserName(roles) ? [roles] : roles);
    // An environment variable that is not set must not let its users in.
    if (!row) throw wrongType(name, roles, "a role or a list of roles, such as 'viewer' or []");
    const same = rows.get(normalize(text));
    if (same)
      throw typeError(`${option}.map has two rows for the same text: '${same.row}' and '${text}'`);
    rows.set(normalize(text), { row: text, roles: row });
  }
  const rest = otherwise === false ? false : rolesOption(`${option}.otherwise`, otherwise);
  const matching = (texts: readonly string[]): readonly MatchingRow[] => [
    ...new Set(texts.flatMap((text) => rows.get(normalize(text)) ?? [])),
  ];
  const rolesOfRows = (found: readonly MatchingRow[]): Roles =>
    found.length === 0 ? (rest ?? false) : [...new Set(found.flatMap(({ roles }) => roles))];
  return Object.assign(({ listOf }: RoleSource<User>) => rolesOfRows(matching(listOf(from))), {
    async explain({ listOf }: RoleSource<User>): Promise<ExplainedRoles> {
      const texts = listOf(from);
      const found = matching(texts);
      return { roles: rolesOfRows(found), list: { name: from, texts }, rows: found };
    },
  });
}

/** Adds the explanation of a rule that looks at no list. */
function withoutList<User>(
  rolesOf: (source: RoleSource<User>) => Roles | Promise<Roles>,
): RolesOf<User> {
  return Object.assign(rolesOf, {
    explain: async (source: RoleSource<User>) => ({ roles: await rolesOf(source) }),
  });
}

function checked(roles: unknown): readonly Role[] | false {
  if (roles === false) return false;
  if (!isRoleList(roles) || isThenable(roles))
    throw new TypeError('the function roles must return a list of at most 32 role names, or false');
  return [...roles];
}
