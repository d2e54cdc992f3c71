import type { Context } from 'koa';
import { LRUCache } from 'lru-cache';
import { clientAddress } from '../http/client-address.js';
import type { SharedStore, StoreValue } from '../store/shared-store.js';
import type { Session } from './session.js';
import { askStore } from './time-limit.js';

/** What is known of an open session beside its token. */
export interface SessionRecord {
  id: string;
  username: string;
  strategy: string;
  /** Unix milliseconds, as the others. */
  startedAt: number;
  lastUsedAt: number;
  /** End of its newest token. */
  expiresAt: number;
  /** The sign-out everywhere that its login came after; absent without one. */
  signOut?: number;
  /** Of the request that used it last. */
  ip: string;
  userAgent: string;
}

/** Where a session is used from. */
export interface UsedFrom {
  ip: string;
  userAgent: string;
}

/** Where a request comes from. */
export function usedFrom(ctx: Context): UsedFrom {
  return { ip: clientAddress(ctx), userAgent: ctx.get('User-Agent') };
}

/** The open sessions, in the store. What a token says holds without it; this is what people see and choose from. */
export interface SessionList {
  /** Notes a new session, or one with a new token. Resolves when the store has it. */
  put(session: Session, signOut: number, from: UsedFrom): Promise<void>;
  /** Notes that a session is in use, at most once a minute each; a store that fails is no reason to refuse the request. */
  touch(session: Session, signOut: number, from: () => UsedFrom): void;
  /** The sessions of a user of any strategy, the last used first. */
  of(username: string): Promise<readonly SessionRecord[]>;
  /** The end of the newest token of a session, as far as the processes have told. */
  expiryOf(session: Session): Promise<number>;
}

const minute = 60_000;

/** Keeps the open sessions in the store under `prefix`, each until it ends. */
export function sessionList(store: SharedStore, prefix: string, now: () => number): SessionList {
  const touched = new LRUCache<string, number>({ max: 10_000 });
  const userPrefix = (username: string): string => `${prefix}${encodeURIComponent(username)}:`;
  const keyOf = ({ username, strategy, id }: Session): string => `${userPrefix(username)}${strategy}:${id}`;

  const write = async (session: Session, signOut: number, { ip, userAgent }: UsedFrom): Promise<void> => {
    const { id, username, strategy, authenticatedAt, expiresAt } = session;
    touched.set(id, now());
    const record: SessionRecord = {
      id,
      username,
      strategy,
      startedAt: authenticatedAt.getTime(),
      lastUsedAt: now(),
      expiresAt: expiresAt.getTime(),
      ...(signOut > 0 && { signOut }),
      ip,
      userAgent: userAgent.slice(0, 256),
    };
    const left = (record.expiresAt - now()) / 1000;
    if (left > 0) await store.set(keyOf(session), { ...record }, left);
  };

  return {
    put: (session, signOut, from) => askStore(() => write(session, signOut, from)),
    touch(session, signOut, from) {
      const last = touched.get(session.id);
      if (last !== undefined && now() - last < minute) return;
      write(session, signOut, from()).catch(() => touched.delete(session.id));
    },
    of: (username) =>
      askStore(async () => {
        const records = await valuesUnder(store, userPrefix(username));
        return (records as unknown as SessionRecord[]).sort((one, other) => other.lastUsedAt - one.lastUsedAt);
      }),
    async expiryOf(session) {
      const record = (await askStore(() => store.get(keyOf(session)))) as SessionRecord | undefined;
      return record?.expiresAt ?? 0;
    },
  };
}

/** Everything that stands under a prefix now: the first thing a watcher is told. */
async function valuesUnder(store: SharedStore, prefix: string): Promise<StoreValue[]> {
  const controller = new AbortController();
  for await (const entries of store.watch(prefix, controller.signal)) {
    controller.abort();
    return entries.map(({ value }) => value);
  }
  return [];
}
