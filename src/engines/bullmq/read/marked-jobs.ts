import type { Redis } from 'ioredis';
import { redisScript, runScript } from '../connection/redis-script.js';
import { type EngineKeys, type Marker, markers } from '../keys.js';
import type { StoredQueues } from '../queues/queue-catalog.js';

/** The queues of an engine, and the failed jobs of these queues that have a marker. */
export interface CountedQueues extends StoredQueues {
  marked: MarkedJobs;
}

/** Jobs of a queue that ended in one stretch of time, and whose markers were compared. */
interface Stretch {
  /** The end time of its last jobs, Unix milliseconds. It begins after the stretch before it. */
  to: number;
  /** Failed jobs that ended in it, with and without a marker. */
  failed: number;
  /** How many of them have the marker. */
  marked: number;
}

type Stretches = Readonly<Record<Marker, readonly Stretch[]>>;

/** How many failed jobs of a queue have no marker, and how many have each. */
type MarkedCounts = Record<'failed' | Marker, number>;

/**
 * Milliseconds after which a stretch of time is taken as over. The clocks of processes differ
 * slightly, and a process writes an end a little after its time.
 */
const settleTime = 10_000;
/** How many markers a stretch has, and about how many are compared per call of the script. */
const size = { stretch: 500, call: 2000 };
const none: Stretches = { cancelled: [], interrupted: [] };

/**
 * Compares markers with the failed jobs, and drops those that no longer tell how a job ended: the
 * job was removed, or it was retried and ended at another time. Markers are compared only in
 * stretches in which the number of failed jobs has changed.
 * KEYS: the failed set, then the set of each marker. ARGV: for each stretch, the index of its set,
 * its bounds and its number of failed jobs, which is negative if it is not known.
 * Returns the number of failed jobs, then for each stretch either nothing, if it is unchanged, or
 * its markers, its failed jobs and where it was cut because it has too many markers. If there is
 * too much to compare, answers are missing.
 */
const compareMarkers = redisScript(`
local failed, left, answer = KEYS[1], ${size.call}, {redis.call('ZCARD', KEYS[1])}
for at = 1, #ARGV, 4 do
  local set, min, max = KEYS[tonumber(ARGV[at])], ARGV[at + 1], ARGV[at + 2]
  if redis.call('ZCOUNT', failed, min, max) == tonumber(ARGV[at + 3]) then
    answer[#answer + 1] = false
  elseif left <= 0 then
    break
  else
    local cut = max == '+inf' and redis.call('ZRANGEBYSCORE', set, min, max, 'WITHSCORES', 'LIMIT', ${size.stretch - 1}, 1)[2]
    local found = redis.call('ZRANGEBYSCORE', set, min, cut or max, 'WITHSCORES')
    local marked = 0
    for n = 1, #found, 2 do
      if redis.call('ZSCORE', failed, found[n]) == found[n + 1] then
        marked = marked + 1
      else
        redis.call('ZREM', set, found[n])
      end
    end
    left = left - #found / 2
    answer[#answer + 1] = {marked, redis.call('ZCOUNT', failed, min, cut or max), cut or ''}
  end
end
return answer
`);

/** What the script answers for a stretch; null if it is unchanged. */
type Compared = [marked: number, failed: number, cut: string] | null;

/**
 * Counts the failed jobs that have a marker. BullMQ removes old jobs without a notice, and other
 * programs remove and retry jobs. A marker therefore counts only if its job is in the failed set
 * with the same end time.
 *
 * To count, this compares the number of failed jobs in stretches of time with the numbers of the
 * last count. A job that leaves the failed set, or ends again, changes the number of its stretch,
 * so the markers of all other stretches are as before.
 */
export class MarkedJobs {
  readonly #redis: Redis;
  readonly #keys: EngineKeys;
  readonly #compared = new Map<string, Stretches>();

  constructor(redis: Redis, keys: EngineKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** Drops the markers of a queue that no longer hold, and counts the others. */
  async count(queue: string): Promise<MarkedCounts> {
    const settled = Date.now() - settleTime;
    let stretches = this.#compared.get(queue) ?? none;
    for (;;) {
      const next = await this.#compare(queue, stretches);
      stretches = next.stretches;
      if (!next.counts) continue;
      const over = (marker: Marker): Stretch[] => next.stretches[marker].filter(({ to }) => to < settled);
      this.#compared.set(queue, { cancelled: over('cancelled'), interrupted: over('interrupted') });
      return next.counts;
    }
  }

  /** Compares the stretches of a queue once. Returns no counts if there is more to compare. */
  async #compare(queue: string, before: Stretches): Promise<{ stretches: Stretches; counts?: MarkedCounts }> {
    const ranges = markers.flatMap((marker) => rangesOf(marker, before[marker]));
    const sets = [this.#keys.ofQueue(queue, 'failed'), ...markers.map((marker) => this.#keys.marked(queue, marker))];
    const args = ranges.flatMap(({ marker, after, to, failed }) => [markers.indexOf(marker) + 2, `(${after}`, to, failed]);
    const [failed, ...answers] = (await runScript(this.#redis, compareMarkers, sets, args)) as [number, ...Compared[]];
    const counts: MarkedCounts = { failed, cancelled: 0, interrupted: 0 };
    const stretches: Record<Marker, Stretch[]> = { cancelled: [], interrupted: [] };
    let isWhole = answers.length === ranges.length;
    for (const [n, { marker, to, ...range }] of ranges.entries()) {
      const [marked, inFailed, cut] = answers[n] ?? [range.marked, range.failed, ''];
      counts[marker] += marked;
      counts.failed -= marked;
      if (cut !== '') isWhole = false;
      const end = cut === '' ? to : Number(cut);
      if (end !== '+inf') stretches[marker].push({ to: end, failed: inFailed, marked });
    }
    const merged = { cancelled: withoutEmpty(stretches.cancelled), interrupted: withoutEmpty(stretches.interrupted) };
    return { stretches: merged, ...(isWhole && { counts }) };
  }
}

interface Range {
  marker: Marker;
  after: number | '-inf';
  to: number | '+inf';
  failed: number;
  marked: number;
}

/** Returns the ranges of stretches, and the range after the last one, which is always compared. */
function rangesOf(marker: Marker, stretches: readonly Stretch[]): Range[] {
  let after: Range['after'] = '-inf';
  const ranges: Range[] = [];
  for (const stretch of [...stretches, { to: '+inf' as const, failed: -1, marked: 0 }]) {
    ranges.push({ marker, after, ...stretch });
    if (stretch.to !== '+inf') after = stretch.to;
  }
  return ranges;
}

/** Joins each stretch that has no markers to the stretch after it. */
function withoutEmpty(stretches: readonly Stretch[]): Stretch[] {
  const kept: Stretch[] = [];
  let failed = 0;
  for (const stretch of stretches) {
    failed += stretch.failed;
    if (stretch.marked === 0) continue;
    kept.push({ ...stretch, failed });
    failed = 0;
  }
  return kept;
}
