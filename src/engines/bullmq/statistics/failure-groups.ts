import type { Redis } from 'ioredis';
import { TaskflowError } from '../../../errors.js';
import { storableText } from '../../../tasks/describe-error.js';
import type { FailurePage, FailureQuery } from '../../../tasks/engine-queries.js';
import type { FailureGroup } from '../../../tasks/types.js';
import { storedObject } from '../connection/stored-object.js';
import type { EngineKeys } from '../keys.js';
import { mergeFailures } from './merge-scripts.js';
import type { Merge } from './merges.js';
import { countsOf, isCount } from './stored-numbers.js';

/** The parts of a failure that its group needs. */
export interface Failure {
  fingerprint: string;
  /** Name of the error. */
  name: string;
  message: string;
}

/** A stored group. Times are Unix milliseconds. */
interface Group {
  /** Name of the task. */
  task: string;
  error: string;
  message: string;
  count: number;
  first: number;
  last: number;
  lastTaskId: string;
  /** Failures by hour since 1970. */
  hours: Record<string, number>;
}

interface StoredGroup extends Group {
  fingerprint: string;
}

const hour = 3_600_000;
const trendHours = 24;
/** Maximum number of groups that are kept. The oldest ones are dropped. */
const maxGroups = 1000;
/** Maximum characters that are kept of a group's message. */
const longestMessage = 1000;

/** Counts failures by their fingerprint. */
export class FailureGroups {
  readonly #redis: Redis;
  readonly #keys: EngineKeys;
  readonly #gathered = new Map<string, Group>();

  constructor(redis: Redis, keys: EngineKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  add(
    { fingerprint, name: error, message }: Failure,
    { id, name: task, at }: { id: string; name: string; at: number },
  ): void {
    const before = this.#gathered.get(fingerprint);
    const present = Math.floor(at / hour);
    this.#gathered.set(fingerprint, {
      task,
      error,
      first: at,
      ...before,
      count: (before?.count ?? 0) + 1,
      last: at,
      lastTaskId: id,
      message: storableText(message, longestMessage),
      hours: { ...before?.hours, [present]: (before?.hours[present] ?? 0) + 1 },
    });
  }

  /** Returns the call that stores the failures which were added since the last call. */
  take(): Merge | undefined {
    if (this.#gathered.size === 0) return undefined;
    const groups = [...this.#gathered].flatMap(([fingerprint, group]) => [
      fingerprint,
      JSON.stringify(group),
    ]);
    this.#gathered.clear();
    const { failures, failureTimes } = this.#keys;
    return {
      script: mergeFailures,
      keys: [failures, failureTimes],
      args: [maxGroups, oldestHour(), ...groups],
    };
  }

  /** Reads groups, the most recent first. `failedNow` counts the tasks that are failed now. */
  async read(
    { name, from = 0, limit, after }: FailureQuery,
    failedNow: (fingerprint: string) => Promise<number>,
  ): Promise<FailurePage> {
    const cursor = after === undefined ? undefined : /^(\d{1,16})\.([0-9a-f]{16})$/.exec(after);
    if (cursor === null)
      throw new TaskflowError('INVALID_CURSOR', 'cursor is not the nextCursor of this list.');
    const stored = await this.#redis.hgetall(this.#keys.failures);
    const groups = Object.entries(stored)
      .flatMap(([fingerprint, text]) => groupOf(fingerprint, text))
      .filter((group) => group.last >= from && (name === undefined || group.task === name))
      .filter(
        (group) =>
          !cursor || isBefore(group, { last: Number(cursor[1]), fingerprint: cursor[2] ?? '' }),
      )
      .sort((one, other) => (isBefore(one, other) ? 1 : -1));
    const page = groups.slice(0, limit);

    const last = page.at(-1);
    return {
      items: await Promise.all(
        page.map(async (group) => kindOf(group, await failedNow(group.fingerprint))),
      ),
      next: groups.length > limit && last ? `${last.last}.${last.fingerprint}` : null,
    };
  }
}

/** The first hour of a trend that ends now, in hours since 1970. */
function oldestHour(): number {
  return Math.floor(Date.now() / hour) - trendHours + 1;
}

/**
 * Parses a stored group. Leaves out the parts that cannot be read, and returns none if neither of
 * its times can be read.
 */
function groupOf(fingerprint: string, text: string): StoredGroup[] {
  const { task, error, message, lastTaskId, count, first, last, hours } = storedObject(text);
  const times = [first, last].filter(isCount);
  if (times.length === 0 || !/^[0-9a-f]{16}$/.test(fingerprint)) return [];
  return [
    {
      fingerprint,
      task: textOf(task),
      error: textOf(error),
      message: textOf(message),
      first: Math.min(...times),
      last: Math.max(...times),
      lastTaskId: textOf(lastTaskId),
      count: isCount(count) ? count : 0,
      hours: countsOf(hours),
    },
  ];
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

type Place = Pick<StoredGroup, 'last' | 'fingerprint'>;

/** Whether a group comes after another one in the list, which begins with the most recent one. */
function isBefore(group: Place, other: Place): boolean {
  return (
    group.last < other.last || (group.last === other.last && group.fingerprint < other.fingerprint)
  );
}

function kindOf(group: StoredGroup, failed: number): FailureGroup {
  const { fingerprint, task, error, message, count, first, last, lastTaskId, hours } = group;
  const oldest = oldestHour();
  return {
    fingerprint,
    name: task,
    error: { name: error, message },
    count,
    failed,
    lastTaskId,
    first: new Date(first).toISOString(),
    last: new Date(last).toISOString(),
    trend: Array.from({ length: trendHours }, (_, n) => hours[oldest + n] ?? 0),
  };
}
