import { redisStore } from '../../src/engines/bullmq/store/redis-store.js';
import { TaskManager } from '../../src/manager.js';
import { memoryStore } from '../../src/store/memory-store.js';
import type { SharedStore } from '../../src/store/shared-store.js';
import { temporaryFolder } from './folder.js';
import { hasRedis, RedisServer } from './redis.js';

/** A store as two processes see it. */
export interface TwoViews {
  one: SharedStore;
  two: SharedStore;
  close(): Promise<void>;
}

async function inMemory(): Promise<TwoViews> {
  const store = memoryStore();
  return { one: store, two: store, close: async () => {} };
}

async function inSqlite(): Promise<TwoViews> {
  const folder = temporaryFolder();
  const managers = [1, 2].map(
    () => new TaskManager({ database: folder.file('tasks.db'), logger: false }),
  );
  const [one, two] = managers.map(({ store }) => store) as [SharedStore, SharedStore];
  // The first call opens the file, which may take longer than a login waits for its store.
  await one.get('nothing');
  await two.get('nothing');
  return {
    one,
    two,
    async close() {
      await Promise.all(managers.map((manager) => manager.stop({ timeout: 0 })));
      folder.remove();
    },
  };
}

async function inRedis(): Promise<TwoViews> {
  const redis = await RedisServer.start();
  const [one, two] = [1, 2].map(() => redisStore(redis.connection, { logger: false })) as [
    ReturnType<typeof redisStore>,
    ReturnType<typeof redisStore>,
  ];
  await one.get('nothing');
  await two.get('nothing');
  return {
    one,
    two,
    async close() {
      await Promise.all([one.close(), two.close()]);
      await redis.remove();
    },
  };
}

/** All stores of the suite, for tests that must pass on each of them. */
export const everyStore: readonly (readonly [name: string, open: () => Promise<TwoViews>])[] = [
  ['memory', inMemory],
  ['SQLite', inSqlite],
  ...(hasRedis ? ([['Redis', inRedis]] as const) : []),
];

/** Returns the keys of all entries under a prefix. */
export async function keysIn(store: SharedStore, prefix: string): Promise<string[]> {
  const controller = new AbortController();
  for await (const entries of store.watch(prefix, controller.signal)) {
    controller.abort();
    return entries.map(({ key }) => key);
  }
  return [];
}
