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
  /** Failed jobs that ended in it, with and without a marker. -1: not known. */
  failed: number;
  /** How many of them have the marker. */
  marked: number;
  /** When this process compared its markers, Unix milliseconds. */
  at: number;
}

type Stretches = Readonly<Record<Marker, readonly Stretch[]>>;

/** How many failed jobs of a queue have no marker, and how many have each. */
type MarkedCounts = Record<'failed' | Marker, number>;

/**
 * Milliseconds after which a stretch of time is taken as over. The clocks of processes differ
 * slightly, and a process writes an end a little after its time.
 */
const settleTime = 10_000;
/** Milliseconds after which a stretch is compared again, even if it looks unchanged. */
const trusted = 600_000;
/**
 * How many markers a stretch has, about how many are compared per call of the script, and how many
 * calls a count repeats while other programs change too many jobs.
 */
const size = { stretch: 500, call: 2000, repeats: 5 };
const none: Stretches = { cancelled: [], interrupted: [] };

/**
 * Compares markers with the failed jobs, and drops those that no longer tell how a job ended: the
 * job was removed, or it was retried and ended at another time. Markers are compared only in
 * stretches in which the number of failed jobs has changed, or is not known.
 * KEYS: the failed set, then the set of each marker. ARGV: for each stretch, the index of its set,
 * its bounds and its number of failed jobs, which is negative if it is not known.
 * Returns the number of failed jobs, then for each stretch its markers, its failed jobs and where
 * it was cut because it has too many markers. For an unchanged stretch it returns only 0; for one
 * that another call must compare, only 1.
 */
const compareMarkers = redisScript(`
local failed, left, answer = KEYS[1], ${size.call}, {redis.call('ZCARD', KEYS[1])}
for at = 1, #ARGV, 4 do
  local set, min, max = KEYS[tonumber(ARGV[at])], ARGV[at + 1], ARGV[at + 2]
  if redis.call('ZCOUNT', failed, min, max) == tonumber(ARGV[at + 3]) then
    answer[#answer + 1] = 0
  elseif left <= 0 and max ~= '+inf' then
    answer[#answer + 1] = 1
  else
    local cut = max == '+inf' and
      redis.call('ZRANGEBYSCORE', set, min, max, 'WITHSCORES', 'LIMIT', ${size.stretch - 1}, 1)[2]
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

/** What the script answers for a stretch. */
type Compared = [marked: number, failed: number, cut: string] | 0 | 1;

/**
 * Counts the failed jobs that have a marker. BullMQ removes old jobs without a notice, and other
 * programs remove and retry jobs. A marker therefore counts only if its job is in the failed set
 * with the same end time.
 *
 * To count, this compares the number of failed jobs in stretches of time with the numbers of the
 * last count. A job that leaves the failed set, or ends again, changes the number of its stretch.
 * The number stays the same only if another job is stored meanwhile with an end time in that
 * stretch, which is more than ten seconds old. Its end had to wait for Redis, or the clock of its
 * process is behind. The counts are then wrong until the stretch is compared again, which is due
 * after ten minutes.
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
    for (let repeats = 0; ; ) {
      const answer = await this.#compare(queue, stretches);
      stretches = answer.stretches;
      if (answer.rest === 'unread') continue;
      repeats += 1;
      if (answer.rest === 'changed' && repeats < size.repeats) continue;
      const over = (marker: Marker): Stretch[] =>
        answer.stretches[marker].filter(({ to }) => to < settled);
      this.#compared.set(queue, { cancelled: over('cancelled'), interrupted: over('interrupted') });
      const { failed, ...counts } = answer.counts;
      // Markers that another call would have dropped may still be counted.
      return { ...counts, failed: Math.max(0, failed) };
    }
  }

  /** Compares the stretches of a queue once. `rest`: what another call must compare. */
  async #compare(
    queue: string,
    before: Stretches,
  ): Promise<{ stretches: Stretches; counts: MarkedCounts; rest?: 'unread' | 'changed' }> {
    const now = Date.now();
    const ranges = markers.flatMap((marker) => rangesOf(marker, before[marker], now));
    const sets = [
      this.#keys.ofQueue(queue, 'failed'),
      ...markers.map((marker) => this.#keys.marked(queue, marker)),
    ];
    const args = ranges.flatMap(({ marker, after, to, failed }) => [
      markers.indexOf(marker) + 2,
      `(${after}`,
      to,
      failed,
    ]);
    const [failed, ...answers] = (await runScript(this.#redis, compareMarkers, sets, args)) as [
      number,
      ...Compared[],
    ];
    const counts: MarkedCounts = { failed, cancelled: 0, interrupted: 0 };
    const stretches: Record<Marker, Stretch[]> = { cancelled: [], interrupted: [] };
    // Failed jobs in stretches that have become part of the next one.
    const left = { cancelled: 0, interrupted: 0 };
    let isCut = false;
    for (const [n, { marker, to, ...range }] of ranges.entries()) {
      const answer = answers[n];
      const isCompared = typeof answer === 'object';
      const [marked, inFailed, cut] = isCompared ? answer : [range.marked, range.failed, ''];
      counts[marker] += marked;
      counts.failed -= marked;
      if (cut !== '') isCut = true;
      const end = cut === '' ? to : Number(cut);
      if (end === '+inf') continue;
      // A stretch without markers becomes part of the next one.
      left[marker] += inFailed;
      if (marked === 0) continue;
      // A sum with an old number could be right by chance, so another call compares the stretch.
      stretches[marker].push({
        to: end,
        failed: answer === 1 ? -1 : left[marker],
        marked,
        at: isCompared ? now : range.at,
      });
      left[marker] = 0;
    }
    if (isCut) return { stretches, counts, rest: 'unread' };
    return { stretches, counts, ...(answers.includes(1) && { rest: 'changed' }) };
  }
}

/** A stretch with its bounds. The last one has no end, and is always compared. */
interface Range extends Omit<Stretch, 'to'> {
  marker: Marker;
  after: number | '-inf';
  to: number | '+inf';
}

function rangesOf(marker: Marker, stretches: readonly Stretch[], now: number): Range[] {
  const known = stretches.map((stretch) =>
    now - stretch.at > trusted ? { ...stretch, failed: -1 } : stretch,
  );
  const all = [...known, { to: '+inf' as const, failed: -1, marked: 0, at: now }];
  return all.map((stretch, n) => ({ marker, after: stretches[n - 1]?.to ?? '-inf', ...stretch }));
}
