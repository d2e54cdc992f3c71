/**
 * `koa-taskflow/strategies/api-tokens` lets scripts use the API with tokens that expire and that
 * can be revoked.
 *
 * @packageDocumentation
 */
import type { Context } from 'koa';
import { TaskflowError } from '../../../errors.js';
import type { Role } from '../../../http/access.js';
import { typeError } from '../../../options.js';
import { throttled } from '../../throttle/throttled.js';
import { ok } from '../finding.js';
import {
  areUnchecked,
  type FindOwner,
  longestUnchecked,
  type OwnerNow,
  rolesAmong,
} from '../owner-now.js';
import type { AuthContext, RequestStrategy, StrategyParts, Verdict } from '../strategy.js';
import {
  asIssuer,
  type CreatedToken,
  type NewToken,
  type TokenInfo,
  type TokenIssuer,
} from '../token-issuer.js';
import { LastUses } from './last-use.js';
import {
  type ApiTokensOptions,
  type ApiTokensSettings,
  isService,
  readNewToken,
  readOptions,
  readRotation,
  splitOwner,
} from './options.js';
import { type TokenRecord, TokenRecords } from './records.js';
import { hashOf, idOf, isToken, newToken } from './token-text.js';

export type { CreatedToken, NewToken, RotateOptions, TokenInfo } from '../token-issuer.js';
export type { ApiTokensOptions } from './options.js';

/** The strategy that {@link apiTokens} makes. */
export interface ApiTokens extends RequestStrategy, TokenIssuer {}

/** Maximum number of tokens of one owner. */
const maxTokens = 100;
/** Maximum number of tokens that a user gets in an hour, rotated ones included. */
const maxPerHour = 60;
/** Milliseconds. */
const hour = 3_600_000;

/**
 * Makes a strategy for API tokens, which scripts send as `Authorization: Bearer`. The store of the
 * login has the SHA-256 of each token only. A token has those of its own roles that its owner also
 * has at present.
 *
 * @throws TypeError or RangeError if an option is wrong. `createAuth` throws a TypeError if it has
 * no store: the tokens would be lost at a restart.
 * @example
 * ```ts
 * const tokens = apiTokens();
 * const strategies = new StrategyRegistry()
 *   .register('staff', multiUser(users))
 *   .register('tokens', tokens);
 * const auth = createAuth({ strategies, store: tasks.store, secretKey });
 * const { token } = await tokens.create({ name: 'deploy', owner: 'service:deploy' });
 * ```
 */
export function apiTokens(options?: ApiTokensOptions): ApiTokens {
  const settings = readOptions(options);
  let attached: Tokens | undefined;
  const own = (): Tokens => {
    if (!attached) throw typeError('apiTokens is not used by a login yet: call createAuth first');
    return attached;
  };
  return asIssuer({
    ambient: false,
    attach(parts) {
      if (!parts.storeLasts)
        throw typeError(
          'apiTokens needs a store that keeps the tokens when the process ends: pass createAuth ' +
            'the option store, such as tasks.store',
        );
      attached = new Tokens(parts, settings);
    },
    async doctor() {
      const tokens = await own().list(undefined);
      const found = `the persistent store of the login; tokens: ${tokens.length}`;
      return [ok('store', found)];
    },
    ownsBearer: (value) => value.startsWith(settings.prefix),
    authenticate_request: (ctx, context) => own().authenticate(ctx, context),
    create: async (token) => own().create(token),
    list: async (filter) => own().list(filter?.owner),
    rotate: async (id, rotation) => own().rotate(id, rotation?.keepOldFor),
    revoke: async (id) => own().revoke(id),
  });
}

/** The tokens of one login. */
class Tokens {
  readonly #parts: StrategyParts;
  readonly #settings: ApiTokensSettings;
  readonly #records: TokenRecords;
  readonly #uses: LastUses;

  constructor(parts: StrategyParts, settings: ApiTokensSettings) {
    this.#parts = parts;
    this.#settings = settings;
    this.#records = new TokenRecords(parts);
    this.#uses = new LastUses(parts);
  }

  authenticate(
    ctx: Context,
    context: AuthContext,
  ): Verdict | undefined | Promise<Verdict | undefined> {
    const { prefix } = this.#settings;
    const [, text = ''] = /^bearer[ \t]+(.*)$/i.exec(ctx.get('Authorization')) ?? [];
    if (!text.startsWith(prefix)) return undefined;
    if (!isToken(prefix, text)) return { ok: false, reason: 'malformed' };
    const decide = () => this.#decide(hashOf(text), ctx, context);
    return this.#records.ready()?.then(decide) ?? decide();
  }

  #decide(hash: string, ctx: Context, context: AuthContext): Verdict | Promise<Verdict> {
    const record = this.#records.get(hash);
    const reject = async (reason: string): Promise<Verdict> => {
      await this.#parts.countWrongToken(ctx);
      return { ok: false, reason };
    };
    if (!record) return reject('unknown_token');
    if (record.expiresAt <= this.#parts.now()) return reject('expired');
    const accept = (owner: OwnerNow | undefined): Verdict | Promise<Verdict> => {
      const roles = rolesOf(record, owner, this.#parts.now());
      if (!roles) {
        // If the store or the strategy fails, the next request with the token tries again.
        if (isLost(record, owner)) this.#endLost(record).catch(() => {});
        return reject('unknown_user');
      }
      this.#uses.note(idOf(hash), context.ip, record.expiresAt);
      return { ok: true, username: record.owner, roles };
    };
    const found = this.#ownerNow(record);
    return found instanceof Promise ? found.then(accept) : accept(found);
  }

  /**
   * Ends a token whose owner is gone, so that it does not return with a user of the same name. The
   * answer about the owner may be older than the token, so the strategy is asked again. A strategy
   * that is not registered in this process has no answer.
   */
  async #endLost(record: TokenRecord): Promise<void> {
    const { hasStrategy, ownerOf } = this.#parts;
    const { strategy, username } = splitOwner(record.owner);
    if (!hasStrategy(strategy)) return;
    const owner = await ownerOf(strategy, username, 'fresh');
    if (isLost(record, owner)) await this.revoke(idOf(record.hash));
  }

  async create(token: NewToken): Promise<CreatedToken> {
    const { name, owner, roles, expiresIn } = readNewToken(token, this.#settings, this.#parts.name);
    const now = await this.#ownerNow({ owner, roles });
    if (!now) throw new TaskflowError('NOT_FOUND', `The owner ${owner} does not exist.`);
    const found = rolesAmong(roles, now);
    const lost = roles.filter((role) => !found.includes(role));
    if (lost.length > 0)
      throw new TaskflowError(
        'FORBIDDEN',
        `${owner} does not have the role ${lost.join(', ')}, so the token cannot have it.`,
      );
    const longest = this.#longest(now);
    if (expiresIn !== undefined && expiresIn > longest)
      throw new TaskflowError(
        'INVALID_INPUT',
        `expiresIn must be at most ${longest}: the strategy of ${owner} cannot tell the roles of ` +
          'its users.',
      );
    const lifetime = expiresIn ?? Math.min(longest, longestUnchecked);
    return this.#issue({ name, owner, roles, ...boundTo(now) }, lifetime, 'created');
  }

  async list(owner: string | undefined): Promise<readonly TokenInfo[]> {
    await this.#records.ready();
    const now = owner === undefined ? undefined : await this.#ownerNow({ owner, roles: [] });
    // Users do not see the tokens of an earlier account with their name.
    const found = this.#records
      .open()
      .filter((each) => owner === undefined || (each.owner === owner && !isOther(each, now)));
    return Promise.all(
      found.map(async (record) => {
        const { hash, name, roles, checked, createdAt, expiresAt, replacedBy = null } = record;
        const id = idOf(hash);
        const use = await this.#uses.of(id);
        return {
          ...{ id, name, owner: record.owner, roles, replacedBy },
          ownerChecked: checked && !isService(record.owner),
          createdAt: new Date(createdAt),
          expiresAt: new Date(expiresAt),
          lastUsedAt: use ? new Date(use.at) : null,
          lastUsedIp: use?.ip ?? null,
        };
      }),
    );
  }

  async rotate(id: string, keepOldFor: number | undefined): Promise<CreatedToken> {
    const kept = readRotation({ keepOldFor }).keepOldFor * 1000;
    const old = await this.#records.find(id);
    const now = old && (await this.#ownerNow(old));
    const roles = old && rolesOf(old, now, this.#parts.now());
    if (!old || !now || !roles || old.replacedBy !== undefined) throw noToken();
    const { name, owner } = old;
    const lifetime = Math.min((old.expiresAt - old.createdAt) / 1000, this.#longest(now));
    const created = await this.#issue({ name, owner, roles, ...boundTo(now) }, lifetime, 'rotated');
    const replaced = await this.#records.change(id, (before) => {
      if (before.replacedBy !== undefined) return undefined;
      const expiresAt = Math.min(before.expiresAt, this.#parts.now() + kept);
      return { ...before, replacedBy: created.id, expiresAt };
    });
    if (replaced) return created;
    // The old token was revoked or rotated meanwhile.
    await this.#records.change(created.id, ended);
    throw noToken();
  }

  async revoke(id: string): Promise<boolean> {
    const record = await this.#records.change(id, ended);
    if (record) this.#log('revoked', id, record);
    return record !== undefined;
  }

  async #issue(
    given: Pick<TokenRecord, 'name' | 'owner' | 'roles' | 'checked' | 'identity'>,
    lifetime: number,
    how: 'created' | 'rotated',
  ): Promise<CreatedToken> {
    await this.#records.ready();
    const { name, owner, roles, identity } = given;
    const isOwn = (each: TokenRecord): boolean =>
      each.owner === owner && each.identity === identity;
    if (this.#records.open().filter(isOwn).length >= maxTokens)
      throw new TaskflowError(
        'INVALID_INPUT',
        `${owner} has ${maxTokens} tokens, which is the limit. Revoke one of them first.`,
      );
    await this.#limit(owner);
    const token = newToken(this.#settings.prefix);
    const hash = hashOf(token);
    const createdAt = this.#parts.now();
    const record = { hash, ...given, createdAt, expiresAt: createdAt + lifetime * 1000 };
    await this.#records.add(record);
    const id = idOf(hash);
    this.#log(how, id, record);
    return { id, name, token, roles, expiresAt: new Date(record.expiresAt) };
  }

  /** Rejects with THROTTLED if a user has got too many tokens. Each of them stays in the store. */
  async #limit(owner: string): Promise<void> {
    // Only code and the command line make tokens of services.
    if (isService(owner)) return;
    const { store, now } = this.#parts;
    const [of, since] = [hashOf(owner), now() % hour];
    const issued = await store.increment(`issued:${of}:${now() - since}`, hour / 1000);
    if (issued > maxPerHour) throw throttled(Math.ceil((hour - since) / 1000));
  }

  /** Returns the owner as it is at present. A service has the roles of each of its tokens. */
  #ownerNow({ owner, roles }: TokenOf): ReturnType<FindOwner> {
    if (isService(owner)) return { roles, unchecked: false, identity: undefined };
    const { strategy, username } = splitOwner(owner);
    return this.#parts.ownerOf(strategy, username);
  }

  /** Returns the seconds that a token may last. */
  #longest(now: OwnerNow): number {
    const { maxAge } = this.#settings;
    return areUnchecked(now) ? Math.min(maxAge, longestUnchecked) : maxAge;
  }

  #log(how: 'created' | 'rotated' | 'revoked', id: string, { owner, roles }: TokenOf): void {
    this.#parts.logger.info(
      { event: `token_${how}`, tokenId: id.slice(0, 6), owner, roles },
      'API token created or ended',
    );
  }
}

type TokenOf = Pick<TokenRecord, 'owner' | 'roles'>;

/** Returns what a new token keeps about its owner. */
function boundTo(now: OwnerNow): Pick<TokenRecord, 'checked' | 'identity'> {
  const { identity } = now;
  return { checked: !areUnchecked(now), ...(identity !== undefined && { identity }) };
}

/** Returns the roles that a token has at present, or `undefined` if it may not be used. */
function rolesOf(
  record: TokenRecord,
  now: OwnerNow | undefined,
  at: number,
): readonly Role[] | undefined {
  const { roles, checked, createdAt, identity } = record;
  if (!now || (identity !== undefined && now.identity !== identity)) return undefined;
  // A token of a strategy that could tell the roles may last longer than others.
  if (now.roles === undefined && checked) return undefined;
  if (now.unchecked && at >= createdAt + longestUnchecked * 1000) return undefined;
  return rolesAmong(roles, now);
}

/** Whether the owner of a token is gone. */
function isLost(record: TokenRecord, now: OwnerNow | undefined): boolean {
  return !now || isOther(record, now);
}

/** Whether another account has the name of the owner now, as far as the strategy can tell. */
function isOther({ identity }: TokenRecord, now: OwnerNow | undefined): boolean {
  return identity !== undefined && now?.identity !== undefined && now.identity !== identity;
}

const ended = (record: TokenRecord): TokenRecord => ({ ...record, expiresAt: 0 });

function noToken(): TaskflowError {
  return new TaskflowError('NOT_FOUND', 'There is no such token; it may have ended.');
}
