import type { Redis } from 'ioredis';
import type { Database } from '../../tables/schema/database.js';
import type { EngineKeys } from '../keys.js';
import { addIfAbsent, storeKeys } from '../store/store-scripts.js';
import type { MoveProgress } from './progress.js';

interface SharedDeps {
  database: Database;
  redis: Redis;
  keys: EngineKeys;
  /** Prefix of the store. */
  prefix: string;
  progress: MoveProgress;
}

/** Maximum number of rows that are read at once. */
const atOnce = 500;

/**
 * Moves all entries of the shared store that have not expired, such as sessions and revocations. If
 * Redis has an entry with the same key, that one stays.
 */
export async function moveShared({ database, prefix, progress }: SharedDeps): Promise<void> {
  await progress.each('shared', (from) => {
    const rows = database.all<{ key: string; value: string; expires_at: number }>(
      'SELECT key, value, expires_at FROM shared WHERE key > ? ORDER BY key LIMIT ?',
      from,
      atOnce,
    );
    const last = rows.at(-1);
    return (
      last && {
        to: last.key,
        write(transaction) {
          for (const { key, value, expires_at: expiresAt } of rows)
            if (expiresAt > Date.now()) addIfAbsent(transaction, prefix, { key, value, expiresAt });
        },
      }
    );
  });
}

/**
 * Puts the entries that Redis has of a log behind the moved ones, and gives the result the name of
 * the log. KEYS: the moved entries, the log.
 */
const joinLogs = `
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', '+')) do
  redis.call('XADD', KEYS[1], entry[1], unpack(entry[2]))
end
redis.call('RENAME', KEYS[1], KEYS[2])
return 1
`;

/**
 * Moves the audit and other logs. The ids of moved entries are small numbers, so the entries that
 * Redis has of the same log come after them.
 */
export async function moveLogs(deps: SharedDeps): Promise<void> {
  const logs = deps.database.all<{ log: string }>(
    'SELECT DISTINCT log FROM shared_log ORDER BY log',
  );
  for (const { log } of logs) await moveLog(deps, log);
}

async function moveLog(
  { database, keys, prefix, progress }: SharedDeps,
  log: string,
): Promise<void> {
  // The entries have their own key at first, because a stream takes no entries before others.
  const apart = `${keys.moved}:${log}`;
  await progress.each(`log:${log}`, (from) => {
    if (from === 'joined') return undefined;
    const rows = database.all<{ n: number; entry: string; expires_at: number }>(
      'SELECT n, entry, expires_at FROM shared_log WHERE log = ? AND n > ? ORDER BY n LIMIT ?',
      ...[log, Number(from), atOnce],
    );
    const last = rows.at(-1);
    const left = rows.filter(({ expires_at: end }) => end > Date.now());
    return {
      to: last === undefined ? 'joined' : String(last.n),
      counted: { what: 'entries', n: left.length },
      write(transaction) {
        for (const { n, entry, expires_at: end } of left)
          transaction.xadd(apart, `${n}-0`, 'entry', entry, 'expiresAt', end);
        if (last === undefined) transaction.eval(joinLogs, 2, apart, storeKeys(prefix).log(log));
      },
    };
  });
}
