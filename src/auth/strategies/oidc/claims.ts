import type { Role } from '../../../http/access.js';
import type { Explanation } from '../command-port.js';
import { type RolesRule, type RolesTable, rolesRule } from '../roles.js';
import { isUserName } from '../user-fields.js';
import { keyOf } from './keys.js';
import type { OidcUser } from './options.js';

/** The claims of a user. */
export type Claims = Readonly<Record<string, unknown>>;

/** What the claims of a user say. */
type Reading = { ok: true; username: string; roles: readonly Role[] } | Refused;

interface Refused {
  ok: false;
  reason: 'no_name' | 'too_many_groups' | 'no_role';
  username?: string;
}

/** Reads the name and the roles of users from their claims. */
export interface ClaimsReader {
  /** Identifies the options of the reader. Roles that other options gave must be read again. */
  readonly rule: string;
  /** Whether the userinfo endpoint may have claims that these lack. */
  needsMore(claims: Claims): boolean;
  read(claims: Claims): Promise<Reading>;
  /** Resolves to what the claims say, and why, for a dry run. */
  explain(claims: Claims): Promise<Explanation>;
  /** Returns the claims of a later answer. Claims that it lacks keep their last value. */
  merge(before: Claims, now: Claims): Claims;
}

interface ReaderOptions {
  /** The claim with the name. */
  username: string | undefined;
  roles: RolesRule<OidcUser>;
}

/**
 * Makes the reader of claims.
 *
 * @throws TypeError if `roles` is wrong.
 */
export function claimsReader({ username: nameClaim, roles }: ReaderOptions): ClaimsReader {
  const rolesOf = rolesRule<OidcUser>('oidc: roles', roles, { from: 'groups' });
  const from = isTable(roles) ? (roles.from ?? 'groups') : undefined;
  const names = nameClaim === undefined ? ['preferred_username', 'email', 'sub'] : [nameClaim];
  const needed = [...names.slice(0, 1), ...(from === undefined ? [] : [from])];

  /** Returns the user of the claims, or why they cannot sign in. */
  const userOf = (all: Claims): OidcUser | Omit<Refused, 'ok'> => {
    const claims = withoutUnverified(all);
    const username = names.map((name) => valueAt(claims, name)).find(isUserName);
    if (username === undefined) return { reason: 'no_name' };
    if (from !== undefined && isElsewhere(claims, from))
      return { reason: 'too_many_groups', username };
    return { username, claims };
  };
  const sourceOf = (user: OidcUser) => ({
    user,
    listOf: (claim: string) => textsOf(valueAt(user.claims, claim)),
  });

  return {
    rule: keyOf(JSON.stringify(nameClaim ?? ''), ruleText(roles)),
    needsMore: (claims) =>
      typeof roles === 'function' || needed.some((name) => valueAt(claims, name) === undefined),
    merge(before, now) {
      const kept = { ...before };
      if (from !== undefined && isElsewhere(now, from)) delete kept[from];
      return withClaims(kept, now);
    },
    async read(all) {
      const user = userOf(all);
      if ('reason' in user) return { ok: false, ...user };
      const { username } = user;
      const found = await rolesOf(sourceOf(user));
      if (found === false) return { ok: false, reason: 'no_role', username };
      return { ok: true, username, roles: found };
    },
    async explain(all) {
      const user = userOf(all);
      if ('reason' in user) return { ...user, roles: false };
      return { username: user.username, ...(await rolesOf.explain(sourceOf(user))) };
    },
  };
}

/**
 * Returns claims with those of a second source, which take precedence. The flag `email_verified`
 * vouches only for the address that came with it, so both are from the same source.
 */
export function withClaims(claims: Claims, second: Claims): Claims {
  const hasAddress = Object.hasOwn(second, 'email');
  const { email_verified: _, ...others } = hasAddress ? claims : second;
  return hasAddress ? { ...others, ...second } : { ...claims, ...others };
}

function ruleText(roles: RolesRule<OidcUser>): string {
  return typeof roles === 'function' ? String(roles) : JSON.stringify(roles);
}

function isTable(roles: RolesRule<OidcUser>): roles is RolesTable {
  return typeof roles === 'object' && !Array.isArray(roles);
}

/** Returns the claims without an address that the provider has not verified. */
function withoutUnverified(claims: Claims): Claims {
  const { email, ...others } = claims;
  const { email_verified: verified } = others;
  return verified === true || verified === 'true' ? { ...others, email } : others;
}

/**
 * Whether the provider left out a list because it is too long. Entra ID does so with more than 200
 * groups. It then says where the list could be read.
 */
function isElsewhere(claims: Claims, name: string): boolean {
  if (valueAt(claims, name) !== undefined) return false;
  const { _claim_names: elsewhere, hasgroups } = claims;
  if (name === 'groups' && (hasgroups === true || hasgroups === 'true')) return true;
  return isObject(elsewhere) && Object.hasOwn(elsewhere, name);
}

/**
 * Returns a claim by its name. If there is no such claim, the dots in the name separate the names
 * of nested claims, as in `realm_access.roles`.
 */
function valueAt(claims: Claims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  let value: unknown = claims;
  for (const part of name.split('.')) {
    if (!isObject(value) || !Object.hasOwn(value, part)) return undefined;
    value = value[part];
  }
  return value;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textsOf(value: unknown): readonly string[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  return list.filter((text) => typeof text === 'string');
}
