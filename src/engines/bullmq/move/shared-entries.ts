import type { Redis } from 'ioredis';
import type { Database, Row } from '../../embedded/database.js';
import type { EngineKeys } from '../keys.js';
import { addIfAbsent, logKey } from '../store/redis-store.js';
import type { MoveProgress } from './progress.js';

interface SharedParts {
  database: Database;
  redis: Redis;
  keys: EngineKeys;
  /** Prefix of the store. */
  prefix: string;
  progress: MoveProgress;
}

/** Rows that are read at once. */
const atOnce = 500;

/** Moves sessions, revocations and everything else in the shared store that has not expired. What Redis has under the same key stays. */
export async function moveShared({ database, prefix, progress }: SharedParts): Promise<void> {
  for (let from = await progress.at('shared'); ; ) {
    const rows = database.all('SELECT key, value, expires_at FROM shared WHERE key > ? ORDER BY key LIMIT ?', from, atOnce);
    const to = rows.at(-1)?.key;
    if (to === undefined) return;
    await progress.step({
      ...{ part: 'shared', from, to: String(to) },
      write(transaction) {
        for (const { key, value, expires_at: end } of rows)
          if (Number(end) > Date.now())
            addIfAbsent(transaction, prefix, { key: String(key), value: String(value), expiresAt: Number(end) });
      },
    });
    from = String(to);
  }
}

/**
 * Puts what a log has in Redis behind what was moved, and gives the result the name of the log. KEYS: the moved entries, the log.
 */
const joinLogs = `
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', '+')) do
  redis.call('XADD', KEYS[1], entry[1], unpack(entry[2]))
end
redis.call('RENAME', KEYS[1], KEYS[2])
return 1
`;

/** Moves the audit and other logs. Their ids are small numbers, so that whatever Redis has of the same log comes after them. */
export async function moveLogs(parts: SharedParts): Promise<void> {
  for (const { log } of parts.database.all('SELECT DISTINCT log FROM journal ORDER BY log')) await moveLog(parts, String(log));
}

async function moveLog({ database, keys, prefix, progress }: SharedParts, log: string): Promise<void> {
  const part = `log:${log}`;
  // Apart at first, because entries of a stream cannot be added before others.
  const apart = `${keys.moved}:${log}`;
  let from = await progress.at(part);
  while (from !== 'joined') {
    const rows = database.all(
      'SELECT n, entry, expires_at FROM journal WHERE log = ? AND n > ? ORDER BY n LIMIT ?',
      ...[log, Number(from), atOnce],
    );
    const last = rows.at(-1);
    const to = last === undefined ? 'joined' : String(last.n);
    const left = rows.filter(({ expires_at: end }) => Number(end) > Date.now());
    await progress.step({
      ...{ part, from, to, counted: { what: 'entries', n: left.length } },
      write(transaction) {
        for (const row of left) transaction.xadd(apart, `${row.n}-0`, ...fieldsOf(row));
        if (to === 'joined') transaction.eval(joinLogs, 2, apart, logKey(prefix, log));
      },
    });
    from = to;
  }
}

function fieldsOf({ entry, expires_at: end }: Row): string[] {
  return ['entry', String(entry), 'expiresAt', String(end)];
}
