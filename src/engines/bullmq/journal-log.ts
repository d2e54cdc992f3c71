import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import type { Redis } from 'ioredis';
import { withinTime } from './redis-connection.js';
import { redisScript, runScript } from './redis-script.js';

/** The keys of a journal, all of one slot of a cluster. */
export interface JournalKeys {
  /** The stream of batches. */
  journal: string;
  /** A hash: how many batches there have been, where the last snapshot is, with what number changes begin. */
  state: string;
  /** Where the number of the last batch of a process is, but for its id. */
  writer: string;
  /** Held by the process that makes a snapshot. */
  compacting: string;
  /** Where the pieces of a snapshot are, but for its id. */
  snapshot: string;
}

/** The keys under a prefix. */
export function journalKeys(prefix: string): JournalKeys {
  const at = (name: string): string => `{${prefix}}:tasks:${name}`;
  return { journal: at('journal'), state: at('state'), writer: at('writer:'), compacting: at('compacting'), snapshot: at('snapshot:') };
}

/** All tables as they were after an entry of the journal. */
export interface Snapshot {
  id: string;
  /** The entry. */
  at: string;
  serial: number;
  /** Its size. */
  bytes: number;
  /** Characters that had been written to the journal when it was begun. */
  upTo: number;
}

/** Where a journal stands. */
export interface JournalState {
  /** Batches there have been. */
  serial: number;
  /** Number of the first change. */
  firstRev: number;
  snapshot: Snapshot | undefined;
}

/** One batch of the journal. */
export interface JournalEntry {
  id: string;
  serial: number;
  /** Who wrote it, and his how-manieth it is. */
  by: string;
  n: number;
  text: string;
  /** Layout of the tables of who wrote it. */
  layout: number;
}

const compress = promisify(gzip);
const decompress = promisify(gunzip);

/** Bytes of one piece of a snapshot. */
export const pieceBytes = 1024 * 1024;
/** Seconds that the pieces of a snapshot are kept which is not finished, or was replaced. */
const leftoverSeconds = 300;

/** Makes a new journal count its changes from now on, so that their numbers are none of another journal. */
export async function readState(redis: Redis, keys: JournalKeys): Promise<JournalState> {
  await redis.hsetnx(keys.state, 'firstRev', Date.now() * 100);
  const [serial, firstRev, snapshot] = await redis.hmget(keys.state, 'serial', 'firstRev', 'snapshot');
  return {
    serial: Number(serial ?? 0),
    firstRev: Number(firstRev),
    snapshot: snapshot ? (JSON.parse(snapshot) as Snapshot) : undefined,
  };
}

/** Whether all is there that a process needs to begin with: the last snapshot, and every entry since. */
export async function isWhole(redis: Redis, keys: JournalKeys, { serial, snapshot }: JournalState): Promise<boolean> {
  const [entries, pieces] = await Promise.all([redis.xlen(keys.journal), snapshot ? redis.llen(keys.snapshot + snapshot.id) : 1]);
  return pieces > 0 && entries >= serial - (snapshot?.serial ?? 0);
}

type StreamEntry = [id: string, fields: string[]];

/** The entries after one; with `block`, milliseconds, it waits that long for the first. */
export async function readEntries(
  redis: Redis,
  { journal }: JournalKeys,
  after: string,
  { block, count }: { block: number | undefined; count: number },
): Promise<JournalEntry[]> {
  const answer = (await (block === undefined
    ? redis.xread('COUNT', count, 'STREAMS', journal, after)
    : redis.xread('COUNT', count, 'BLOCK', block, 'STREAMS', journal, after))) as [key: string, entries: StreamEntry[]][] | null;
  return (answer?.[0]?.[1] ?? []).map(([id, [, serial, , by = '', , n, , text = '', , layout]]) => ({
    ...{ id, serial: Number(serial), by, n: Number(n), text, layout: Number(layout) },
  }));
}

/** The bytes of a snapshot. Throws where it is not, or no longer, there. */
export async function* snapshotContent(redis: Redis, keys: JournalKeys, id: string): AsyncGenerator<Uint8Array> {
  const key = keys.snapshot + id;
  const pieces = await withinTime(redis.llen(key));
  if (pieces === 0) throw new Error('the snapshot of the tasks is gone');
  for (let n = 0; n < pieces; n++) {
    const piece = await withinTime(redis.lindexBuffer(key, n));
    if (!piece) throw new Error('the snapshot of the tasks went while it was read');
    yield await decompress(piece);
  }
}

/**
 * Puts a new snapshot in the place of the last, and cuts off what it holds. KEYS: the state, the journal. ARGV: the snapshot,
 * its entry, its serial. Answers the snapshot that was replaced, or `0` where a later one is there already.
 */
const replace = redisScript(`
local old = redis.call('HGET', KEYS[1], 'snapshot')
if old and tonumber(cjson.decode(old).serial) > tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], 'snapshot', ARGV[1])
redis.call('XTRIM', KEYS[2], 'MINID', ARGV[2])
return old or ''
`);

/** Stores the pieces of a snapshot, which is none yet. Answers its size. */
async function storePieces(redis: Redis, key: string, content: AsyncIterable<Uint8Array>): Promise<number> {
  let bytes = 0;
  for await (const part of content) {
    for (let from = 0; from < part.length; from += pieceBytes) {
      const piece = await compress(part.subarray(from, from + pieceBytes), { level: 1 });
      bytes += piece.length;
      await withinTime(redis.rpush(key, piece), 5000);
      // Nobody else would remove it if this process died now.
      await redis.expire(key, leftoverSeconds);
    }
  }
  return bytes;
}

/** Stores a snapshot, piece by piece, and lets it replace the last. */
export async function writeSnapshot(
  redis: Redis,
  keys: JournalKeys,
  snapshot: Omit<Snapshot, 'bytes'>,
  content: AsyncIterable<Uint8Array>,
): Promise<void> {
  const key = keys.snapshot + snapshot.id;
  const whole: Snapshot = { ...snapshot, bytes: await storePieces(redis, key, content) };
  await redis.persist(key);
  const replaced = await withinTime(
    runScript(redis, replace, [keys.state, keys.journal], [JSON.stringify(whole), snapshot.at, snapshot.serial]),
    5000,
  );
  if (replaced === 0) await redis.del(key);
  // Who is reading it now may finish.
  else if (typeof replaced === 'string' && replaced !== '')
    await redis.expire(keys.snapshot + (JSON.parse(replaced) as Snapshot).id, leftoverSeconds);
}

/** Where a journal begins that has a snapshot and no entries: not where an empty one does, so that whoever has read that one notices. */
const first = { at: '0-1', serial: 1 };

/**
 * Lets a journal begin with a snapshot. KEYS: the state, the journal. ARGV: the snapshot, what it is of, its serial. Answers what
 * the journal began with, where that was something else.
 */
const beginWith = redisScript(`
local origin = redis.call('HGET', KEYS[1], 'origin')
if origin == ARGV[2] then return '' end
if origin or redis.call('HEXISTS', KEYS[1], 'serial') == 1 or redis.call('HEXISTS', KEYS[1], 'snapshot') == 1 then return origin or 'tasks' end
redis.call('HSET', KEYS[1], 'snapshot', ARGV[1], 'origin', ARGV[2], 'serial', ARGV[3], 'bytes', 0)
return ''
`);

/** What a journal began with; empty for nothing. */
export async function originOf(redis: Redis, keys: JournalKeys): Promise<string> {
  const [origin, serial] = await withinTime(redis.hmget(keys.state, 'origin', 'serial'));
  return origin ?? (serial === null || serial === undefined ? '' : 'tasks');
}

/** Begins a journal with tables that come from elsewhere. Answers `false` where it has begun otherwise. */
export async function beginJournal(
  redis: Redis,
  keys: JournalKeys,
  { id, origin }: { id: string; origin: string },
  content: AsyncIterable<Uint8Array>,
): Promise<boolean> {
  const key = keys.snapshot + id;
  const snapshot: Snapshot = { id, ...first, upTo: 0, bytes: await storePieces(redis, key, content) };
  await redis.persist(key);
  const other = await withinTime(
    runScript(redis, beginWith, [keys.state, keys.journal], [JSON.stringify(snapshot), origin, first.serial]),
    5000,
  );
  if (other === '') return true;
  await redis.del(key);
  return false;
}
