import type { Role } from '../../../http/access.js';
import type { StoreEntry, StoreValue } from '../../../store/shared-store.js';
import { followStore } from '../../sessions/follow-store.js';
import type { StrategyParts } from '../strategy.js';
import { isRoleList, isUserName } from '../user-fields.js';
import { idOf, isId } from './token-text.js';

/*
 * The store has one entry for each token, with the SHA-256 of the token. Each process keeps a copy
 * of all entries in memory, so that a request needs no call to the store. The end of a token never
 * moves to a later time. A revoked token keeps its entry, with the time 0 as its end, because
 * watchers are not told of deleted entries.
 */

/** A token as the store has it. */
export interface TokenRecord {
  /** SHA-256 of the token, in hexadecimal. */
  hash: string;
  name: string;
  /** `STRATEGY:USERNAME`, or `service:NAME`. */
  owner: string;
  roles: readonly Role[];
  /** Whether the strategy of the owner could tell the roles of the owner. */
  checked: boolean;
  /** Identifies the account of the owner, if the strategy could tell it. */
  identity?: string;
  /** Unix milliseconds, as all times here. */
  createdAt: number;
  expiresAt: number;
  /** Id of the token that replaced this one. */
  replacedBy?: string;
}

const prefix = 'token:';

/** Milliseconds for which a token that ended early is kept, so that all processes learn of it. */
const keptAfterEnd = 86_400_000;

/** Maximum number of attempts to change an entry that other processes change at the same time. */
const maxRaces = 10;

interface Kept {
  record: TokenRecord;
  /** When the store drops the entry. */
  until: number;
}

/** All tokens of a strategy: those in the store, and their copy in memory. */
export class TokenRecords {
  readonly #parts: Pick<StrategyParts, 'store' | 'usersChanged' | 'now'>;
  readonly #follower: ReturnType<typeof followStore>;
  #kept = new Map<string, Kept>();
  /** The entries of the complete read in progress. It replaces the copy when it ends. */
  #fresh = new Map<string, Kept>();

  constructor(parts: Pick<StrategyParts, 'store' | 'usersChanged' | 'now'>) {
    this.#parts = parts;
    this.#follower = followStore({
      store: parts.store,
      prefix,
      take: (entries) => this.#take(entries),
      // A revoked token stays revoked even if the store has lost the change.
      begun: () => {
        const now = parts.now();
        this.#fresh = new Map([...this.#kept].filter(([, { record }]) => record.expiresAt <= now));
      },
      complete: () => {
        this.#kept = this.#fresh;
      },
    });
  }

  /** Returns `undefined` if the copy is complete, and otherwise a promise, as a `Follower` does. */
  ready(): Promise<void> | undefined {
    return this.#follower.ready();
  }

  /** Returns the token with this hash, ended or not, from the copy. */
  get(hash: string): TokenRecord | undefined {
    const record = this.#kept.get(idOf(hash))?.record;
    return record?.hash === hash ? record : undefined;
  }

  /** Returns all tokens of the copy that have not ended, the newest first. */
  open(): TokenRecord[] {
    const now = this.#parts.now();
    return [...this.#kept.values()]
      .map(({ record }) => record)
      .filter(({ expiresAt }) => expiresAt > now)
      .sort((one, other) => other.createdAt - one.createdAt);
  }

  /** Stores a new token. */
  async add(record: TokenRecord): Promise<void> {
    const key = prefix + idOf(record.hash);
    const ttl = (record.expiresAt - this.#parts.now()) / 1000;
    const isNew = await this.#parts.store.replace(key, undefined, asValue(record), ttl);
    if (!isNew) throw new Error('the store already has an entry for a new token');
    this.#take([{ key, value: asValue(record), expiresAt: record.expiresAt }]);
  }

  /**
   * Changes a token in the store and in the copy. Resolves to the token before the change. Resolves
   * to `undefined` if the token does not exist or has ended, or if `change` returns `undefined`.
   */
  async change(
    id: string,
    change: (record: TokenRecord) => TokenRecord | undefined,
  ): Promise<TokenRecord | undefined> {
    const { store, now } = this.#parts;
    if (!isId(id)) return undefined;
    const key = prefix + id;
    for (let race = 0; race < maxRaces; race++) {
      const value = await store.get(key);
      const before = recordOf(value);
      if (!before || before.expiresAt <= now()) return undefined;
      const after = change(before);
      if (!after) return undefined;
      const until = Math.min(before.expiresAt, Math.max(after.expiresAt, now()) + keptAfterEnd);
      if (!(await store.replace(key, value, asValue(after), (until - now()) / 1000))) continue;
      this.#take([{ key, value: asValue(after), expiresAt: until }]);
      return before;
    }
    throw new Error('the token was changed by other processes again and again');
  }

  /** Resolves to a token that has not ended, from the store. */
  async find(id: string): Promise<TokenRecord | undefined> {
    if (!isId(id)) return undefined;
    const record = recordOf(await this.#parts.store.get(prefix + id));
    return record && record.expiresAt > this.#parts.now() ? record : undefined;
  }

  #take(entries: readonly StoreEntry[]): void {
    let hasEnded = false;
    for (const { key, value, expiresAt: until } of entries) {
      const record = recordOf(value);
      const id = key.slice(prefix.length);
      if (!record || idOf(record.hash) !== id) continue;
      for (const map of new Set([this.#kept, this.#fresh])) {
        const before = map.get(id)?.record;
        // An older state may arrive after a newer one.
        if (before && before.expiresAt < record.expiresAt) continue;
        if (before && record.expiresAt < before.expiresAt) hasEnded = true;
        map.set(id, { record, until });
      }
    }
    for (const [id, { until }] of this.#kept) if (until <= this.#parts.now()) this.#kept.delete(id);
    // Open streams are checked again at once.
    if (hasEnded) this.#parts.usersChanged();
  }
}

function asValue(record: TokenRecord): StoreValue {
  return { ...record };
}

/** Reads an entry of the store. Returns `undefined` if it is not a token. */
function recordOf(value: StoreValue | undefined): TokenRecord | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { hash, name, owner, roles, checked, createdAt, expiresAt } = value as Partial<TokenRecord>;
  const isRecord =
    typeof hash === 'string' &&
    typeof name === 'string' &&
    isUserName(owner) &&
    isRoleList(roles) &&
    typeof checked === 'boolean' &&
    typeof createdAt === 'number' &&
    typeof expiresAt === 'number';
  return isRecord ? (value as unknown as TokenRecord) : undefined;
}
