import type { Redis } from 'ioredis';
import type { EngineKeys } from '../keys.js';
import type { CatalogEntry, QueueCatalog } from '../queue-catalog.js';
import { plainError } from '../redis-connection.js';

interface FindParts {
  redis: Redis;
  keys: EngineKeys;
  catalog: QueueCatalog;
}

/** The queues that have the jobs of some ids, in one round trip, or in two if a queue is new to this process. */
export async function findQueues({ redis, keys, catalog }: FindParts, ids: readonly string[]): Promise<Map<string, CatalogEntry>> {
  const found = new Map<string, CatalogEntry>();
  let asked = new Set<string>();
  for (const fresh of [false, true]) {
    if (fresh) await catalog.refresh();
    const entries = catalog.all().filter(({ queue }) => !asked.has(queue));
    const missing = ids.filter((id) => !found.has(id));
    asked = new Set([...asked, ...entries.map(({ queue }) => queue)]);
    if (missing.length === 0) break;
    const pairs = missing.flatMap((id) => entries.map((entry) => ({ id, entry })));
    const answers = await answersOf(redis.pipeline(pairs.map(({ id, entry }) => ['exists', keys.ofQueue(entry.queue, id)])).exec());
    for (const [n, { id, entry }] of pairs.entries()) if (answers[n] === 1) found.set(id, entry);
  }
  return found;
}

/** The answers of a pipeline or transaction. @throws Error for the first that failed. */
export async function answersOf(sent: Promise<[Error | null, unknown][] | null>): Promise<unknown[]> {
  const answers = await sent;
  if (!answers) throw new Error('the transaction was dropped');
  return answers.map(([error, answer]) => {
    if (error) throw plainError(error);
    return answer;
  });
}
