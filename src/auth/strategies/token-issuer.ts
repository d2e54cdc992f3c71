import type { Role } from '../../http/access.js';
import { typeError } from '../../options.js';
import type { StrategyRegistry } from './registry.js';
import type { Strategy } from './strategy.js';

/** What a new API token is to be. */
export interface NewToken {
  /** What the token is for, 1 to 100 printable characters. */
  name: string;
  /**
   * Whose token it is: `STRATEGY:USERNAME` for a user, with the canonical name, or `service:NAME`
   * for a service. The requests of the token come from a user of this name.
   */
  owner: string;
  /**
   * Roles of the token. The owner must have each of them. A service cannot have `admin`. Default:
   * `[]`, with which the token may only read.
   */
  roles?: readonly Role[] | undefined;
  /** Seconds until the token expires. Default: 30 days, or `maxAge` if that is shorter. */
  expiresIn?: number | undefined;
}

/** A token that was just created. */
export interface CreatedToken {
  readonly id: string;
  readonly name: string;
  /** The token. It cannot be read again. */
  readonly token: string;
  readonly roles: readonly Role[];
  readonly expiresAt: Date;
}

/** A token as lists show it. */
export interface TokenInfo {
  readonly id: string;
  readonly name: string;
  readonly owner: string;
  readonly roles: readonly Role[];
  /**
   * Whether the token loses the roles that its owner loses. `false` for a service, and if the
   * strategy of the owner cannot tell the roles of its users.
   */
  readonly ownerChecked: boolean;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  /** When the token was last used, to the minute; `null` if it was not used. */
  readonly lastUsedAt: Date | null;
  /** The address of the last use. */
  readonly lastUsedIp: string | null;
  /** Id of the token that replaced this one; `null` if none did. */
  readonly replacedBy: string | null;
}

/** Options of {@link TokenIssuer.rotate}. */
export interface RotateOptions {
  /** Seconds for which the old token stays valid, at most 86,400. Default 0. */
  keepOldFor?: number | undefined;
}

/** Creates, lists and ends API tokens. */
export interface TokenIssuer {
  /**
   * Creates a token.
   *
   * @throws TypeError or RangeError (rejects) for a wrong argument. TaskflowError FORBIDDEN if the
   * owner does not have a role, or STORE_UNAVAILABLE.
   */
  create(token: NewToken): Promise<CreatedToken>;
  /** Resolves to all tokens that have not ended, or to those of one owner, newest first. */
  list(options?: { owner?: string | undefined }): Promise<readonly TokenInfo[]>;
  /**
   * Creates a token with the name, the owner, the lifetime and the roles of another one, except for
   * roles that the owner has lost. The old token ends after `keepOldFor`.
   *
   * @throws TaskflowError (rejects) NOT_FOUND if there is no such token, it has ended or it was
   * replaced before.
   */
  rotate(id: string, options?: RotateOptions): Promise<CreatedToken>;
  /** Ends a token in all processes. Resolves to `false` if there is no such token. */
  revoke(id: string): Promise<boolean>;
}

const issuers = new WeakMap<Strategy, TokenIssuer>();

/** Marks a strategy as the issuer of API tokens, for the routes of the login. */
export function asIssuer<T extends Strategy & TokenIssuer>(strategy: T): T {
  issuers.set(strategy, strategy);
  return strategy;
}

/**
 * Returns the strategy that issues API tokens, or `undefined` if none is registered.
 *
 * @throws TypeError if there are several, because the routes could not tell which one is meant, or
 * if the users of another strategy would look like services.
 */
export function issuerIn(
  registry: Pick<StrategyRegistry, 'names' | 'get'>,
): TokenIssuer | undefined {
  const found = registry.names('request').flatMap((name) => {
    const strategy = registry.get(name);
    return (strategy && issuers.get(strategy)) ?? [];
  });
  if (found.length > 1)
    throw typeError('more than one strategy is apiTokens; register only one of them');
  if (found.length > 0 && registry.get('service'))
    throw typeError(
      "a strategy is named 'service', which apiTokens uses for the tokens of services; use " +
        'another name',
    );
  return found[0];
}
