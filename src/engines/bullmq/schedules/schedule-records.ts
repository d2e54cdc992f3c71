import type { Redis } from 'ioredis';
import type { NewTask, Schedule } from '../../../tasks/new-task.js';
import type { Pause, ScheduleState } from '../../../tasks/queue-state.js';
import type { RedisClock } from '../connection/redis-clock.js';
import { redisScript, runScript } from '../connection/redis-script.js';
import { isObject, storedObject } from '../connection/stored-object.js';
import { isoTime } from '../jobs/job-view.js';
import { count } from '../jobs/task-job.js';
import type { EngineKeys } from '../keys.js';
import { pauseOf } from '../stored-pause.js';

/** The definition of a schedule, as it is stored for the processes that do not define it. */
export interface ScheduleRecord
  extends Pick<Schedule, 'name' | 'task' | 'rule' | 'catchUp' | 'overlap'> {
  /** The task of one run. Its times count from the run. */
  template: NewTask;
}

/** The state of a schedule. Times are Unix milliseconds. */
export interface ScheduleRuns {
  /** The last run that made a task. */
  last?: { at: number; id: string; queue: string };
  skipped: number;
  pause?: Pause;
  /** When a running process that defines it was last seen, by the clock of Redis. */
  seen?: number;
  /**
   * When it fires next, if it was moved here from a file and no process that defines it has started
   * since.
   */
  next?: number;
}

/** Fields of the state of a schedule, each followed by its name. */
const stateFields = ['last', 'skipped', 'pause', 'seen', 'next', 'claim'] as const;

/** A schedule as Redis has it. */
export interface StoredSchedule {
  record: ScheduleRecord;
  runs: ScheduleRuns;
}

/** Milliseconds without a process that defines a schedule after which it is shown as undefined. */
const undefinedAfter = 60_000;

/** The records of the schedules in Redis. */
export class ScheduleRecords {
  readonly #redis: Redis;
  readonly #definitions: string;
  readonly #states: string;
  readonly #clock: RedisClock;

  constructor(redis: Redis, keys: EngineKeys, clock: RedisClock) {
    this.#redis = redis;
    this.#definitions = keys.schedules;
    this.#states = keys.scheduleStates;
    this.#clock = clock;
  }

  /** Stores the definition of a schedule, and returns the rule that was stored before. */
  async define({
    name,
    task,
    rule,
    catchUp,
    overlap,
    prepare,
  }: Schedule): Promise<string | undefined> {
    const record: ScheduleRecord = { name, task, rule, catchUp, overlap, template: prepare() };
    const [before, now] = await Promise.all([
      this.#redis.hget(this.#definitions, name),
      this.#clock.now(),
    ]);
    await this.#redis
      .multi()
      .hset(this.#definitions, name, JSON.stringify(record))
      .hset(this.#states, `seen:${name}`, now)
      .exec();
    return recordOf(before)?.rule;
  }

  /** Notes that this process defines schedules. Resolves to whether Redis knew all of them. */
  async seen(names: readonly string[]): Promise<boolean> {
    if (names.length === 0) return true;
    const now = await this.#clock.now();
    const seen = names.flatMap((name) => [`seen:${name}`, now]);
    return (await this.#redis.hset(this.#states, ...seen)) === 0;
  }

  async get(name: string): Promise<StoredSchedule | undefined> {
    const fields = stateFields.map((field) => `${field}:${name}`);
    const [text, values] = await Promise.all([
      this.#redis.hget(this.#definitions, name),
      this.#redis.hmget(this.#states, ...fields),
    ]);
    return scheduleOf(text, (field) => values[stateFields.indexOf(field)] ?? undefined);
  }

  async all(): Promise<StoredSchedule[]> {
    const [records, states] = await Promise.all([
      this.#redis.hgetall(this.#definitions),
      this.#redis.hgetall(this.#states),
    ]);
    return Object.keys(records)
      .sort()
      .flatMap((name) => scheduleOf(records[name], (field) => states[`${field}:${name}`]) ?? []);
  }

  /**
   * Claims a run that must not overlap with another, before its task is made. Resolves to false if
   * another process made the task of a run since `last` was read, or is making it.
   */
  async claim(name: string, id: string, last: ScheduleRuns['last']): Promise<boolean> {
    const args = [`claim:${name}`, `last:${name}`, id, await this.#clock.now(), last?.id ?? ''];
    return (await runScript(this.#redis, claim, [this.#states], args)) === 1;
  }

  async fired(name: string, last: NonNullable<ScheduleRuns['last']>): Promise<void> {
    await this.#redis
      .multi()
      .hset(this.#states, `last:${name}`, JSON.stringify(last))
      .hdel(this.#states, `claim:${name}`)
      .exec();
  }

  async skipped(name: string): Promise<void> {
    await this.#redis.hincrby(this.#states, `skipped:${name}`, 1);
  }

  /** Stores who paused a schedule, unless it is paused already. */
  async pause(name: string, pause: Pause): Promise<void> {
    await this.#redis.hsetnx(this.#states, `pause:${name}`, JSON.stringify(pause));
  }

  async resume(name: string): Promise<void> {
    await this.#redis.hdel(this.#states, `pause:${name}`, `next:${name}`);
  }

  /** Deletes the time that came with a moved schedule, because BullMQ has planned it now. */
  async planned(name: string): Promise<void> {
    await this.#redis.hdel(this.#states, `next:${name}`);
  }

  async remove(name: string): Promise<void> {
    const fields = stateFields.map((field) => `${field}:${name}`);
    await this.#redis
      .multi()
      .hdel(this.#definitions, name)
      .hdel(this.#states, ...fields)
      .exec();
  }
}

/**
 * Milliseconds after which the claim of a process that died is void: after that time another
 * process takes its tick.
 */
const claimDuration = 10_000;

/**
 * KEYS: the states of schedules. ARGV: the fields of the claim and of the last run, the id of the
 * run, the time of Redis in Unix milliseconds, the id of the last run that the caller knows. A last
 * run or a claim that cannot be read counts as none, here as in {@link scheduleOf}.
 */
const claim = redisScript(`
local isJson, last = pcall(cjson.decode, redis.call('HGET', KEYS[1], ARGV[2]) or '{}')
local isRun = isJson and type(last) == 'table'
  and type(last.at) == 'number' and type(last.id) == 'string' and type(last.queue) == 'string'
if (isRun and last.id or '') ~= ARGV[5] then return 0 end
local id, at = string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '', '^(%S+) (%d+)$')
if id and id ~= ARGV[3] and ARGV[4] - at < ${claimDuration} then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3] .. ' ' .. ARGV[4])
return 1
`);

/** Parses a schedule. Returns undefined for a definition of another form. */
function scheduleOf(
  text: string | null | undefined,
  state: (field: (typeof stateFields)[number]) => string | undefined,
): StoredSchedule | undefined {
  const record = recordOf(text);
  if (!record) return undefined;
  const [pause, seen] = [state('pause'), state('seen')];
  const [last, next] = [lastOf(state('last')), count(state('next'))];
  const runs: ScheduleRuns = {
    skipped: count(state('skipped')),
    ...(last && { last }),
    ...(pause !== undefined && { pause: pauseOf(pause) }),
    ...(seen !== undefined && { seen: count(seen) }),
    ...(next > 0 && { next }),
  };
  return { record, runs };
}

/** Parses the definition of a schedule. Returns undefined for a text of another form. */
function recordOf(text: string | null | undefined): ScheduleRecord | undefined {
  const record = storedObject(text);
  const { template } = record;
  const isRecord =
    areAll('string', record, 'name', 'task', 'rule') &&
    isObject(template) &&
    areAll('string', template, 'name', 'args', 'queue') &&
    areAll('number', template, 'priority', 'attempts', 'interrupts', 'runAt') &&
    isObject(template.tags);
  return isRecord ? (record as unknown as ScheduleRecord) : undefined;
}

function areAll(
  type: 'string' | 'number',
  object: Readonly<Record<string, unknown>>,
  ...keys: readonly string[]
): boolean {
  return keys.every((key) => typeof object[key] === type);
}

function lastOf(text: string | undefined): ScheduleRuns['last'] {
  const { at, id, queue } = storedObject(text);
  return typeof at === 'number' && typeof id === 'string' && typeof queue === 'string'
    ? { at, id, queue }
    : undefined;
}

/**
 * Returns since when no running process defines a schedule, or null while one does. `now`: the time
 * of Redis. Unix milliseconds.
 */
export function undefinedSince({ seen = 0 }: ScheduleRuns, now: number): number | null {
  return now - seen > undefinedAfter ? seen : null;
}

/**
 * Returns a schedule as users see it. `next`: when it fires next, `now`: the time of Redis, both in
 * Unix milliseconds.
 */
export function stateOf(
  { name, task, rule }: Pick<ScheduleRecord, 'name' | 'task' | 'rule'>,
  runs: ScheduleRuns,
  next: number | undefined,
  now: number,
): ScheduleState {
  const time = (at: number | null | undefined): string | null => (at == null ? null : isoTime(at));
  const { last, pause, skipped } = runs;
  return {
    name,
    task,
    rule,
    skipped,
    nextRunAt: pause ? null : time(next),
    lastRunAt: time(last?.at),
    lastTaskId: last?.id ?? null,
    paused: pause !== undefined,
    pause: pause ?? null,
    undefinedSince: time(undefinedSince(runs, now)),
  };
}
