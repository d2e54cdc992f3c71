import type { AuditEvent } from '../../http/access.js';
import { type Logger, typeError } from '../../options.js';
import type { SharedStore, StoreEntry } from '../../store/shared-store.js';
import { createCipher } from '../cipher.js';
import type { StrategyRegistry } from './registry.js';
import type { EndedUser, Strategy, StrategyParts, StrategyStore } from './strategy.js';

/** What a login gives to its strategies. */
interface AttachDeps extends Pick<StrategyParts, 'ownerOf' | 'countWrongToken'> {
  registry: StrategyRegistry;
  path: string;
  store: SharedStore;
  storeLasts: boolean;
  tokenExpiry: number;
  /** Prefix of all keys of the login in the store. */
  prefix: string;
  /** Returns the keys for the data of strategies. The first one encrypts. */
  keys: () => readonly Buffer[];
  endSessions(strategy: string, user: EndedUser): Promise<void>;
  hasEnded(strategy: string, session: Parameters<StrategyParts['hasEnded']>[0]): Promise<boolean>;
  usersChanged(): void;
  record(event: AuditEvent): Promise<void>;
  logger: Logger;
  now: () => number;
}

const attached = new WeakSet<Strategy>();

/**
 * Notes that a strategy gets its parts. `cached` does so for the strategy that it wraps.
 *
 * @throws TypeError if it has got them before: the data of two logins or names would be mixed.
 */
export function noteAttached(strategy: Strategy, name: string): void {
  if (attached.has(strategy))
    throw typeError(
      `strategy '${name}' is already used by another login or under another name; create one ` +
        'strategy for each',
    );
  attached.add(strategy);
}

/**
 * Gives each strategy that has `attach` its parts.
 *
 * @throws TypeError if a strategy is already used under another name or by another login.
 */
export function attachStrategies(deps: AttachDeps): void {
  const { registry, path, store, storeLasts, tokenExpiry, prefix, keys, now } = deps;
  for (const name of registry.names()) {
    const strategy = registry.get(name);
    if (!strategy?.attach) continue;
    noteAttached(strategy, name);
    const { encrypt, decrypt } = createCipher(keys, `${path} ${name}`);
    strategy.attach({
      ...{ name, path, encrypt, decrypt, now, storeLasts, tokenExpiry },
      store: storeBelow(store, `${prefix}strategy:${name}:`),
      endSessions: (user) => deps.endSessions(name, user),
      hasEnded: (session) => deps.hasEnded(name, session),
      usersChanged: deps.usersChanged,
      ownerOf: deps.ownerOf,
      hasStrategy: (other) => registry.get(other)?.find_user !== undefined,
      countWrongToken: deps.countWrongToken,
      record: ({ actor, detail, ...event }) =>
        deps.record({
          ...{ at: new Date(now()).toISOString(), outcome: 'done', ...event },
          ...(actor !== undefined && { actor, strategy: name }),
          detail: { strategy: name, ...detail },
        }),
      logger: withFields(deps.logger, { strategy: name, mount: path }),
    });
  }
}

/** Returns a logger that adds fields to each line. */
function withFields(logger: Logger, fields: object): Logger {
  const call =
    (level: keyof Logger) =>
    (more: object, message?: string): void =>
      logger[level]({ ...fields, ...more }, message);
  return {
    debug: call('debug'),
    info: call('info'),
    warn: call('warn'),
    error: call('error'),
  } as Logger;
}

/** Limits a store to the keys below a prefix. The caller sees the keys without it. */
function storeBelow(store: SharedStore, prefix: string): StrategyStore {
  const without = (entries: readonly StoreEntry[]): readonly StoreEntry[] =>
    entries.map((entry) => ({ ...entry, key: entry.key.slice(prefix.length) }));
  return {
    get: (key) => store.get(prefix + key),
    set: (key, value, ttl) => store.set(prefix + key, value, ttl),
    replace: (key, before, value, ttl, droppable) =>
      store.replace(prefix + key, before, value, ttl, droppable),
    increment: (key, ttl) => store.increment(prefix + key, ttl),
    list: async (below, after, limit) =>
      without(
        await store.list(prefix + below, after === undefined ? after : prefix + after, limit),
      ),
    async *watch(below, signal, options) {
      for await (const entries of store.watch(prefix + below, signal, options))
        yield without(entries);
    },
  };
}
