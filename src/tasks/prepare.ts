import {
  type DurationWarning,
  optionsObject,
  secondsOption,
  stringOption,
  typeError,
  wrongType,
} from '../options.js';
import { encodeArguments } from './arguments.js';
import type { Definition } from './definition.js';
import type { Cipher } from './encryption.js';
import type { NewTask, TaskClock } from './new-task.js';
import { newTaskId, timeOfTaskId } from './task-id.js';
import {
  type EnqueueOptions,
  priorityOption,
  queueOption,
  type Settings,
  tagsOption,
} from './task-options.js';

/** Per-call options, checked once for any number of tasks. */
export interface CallSettings {
  runAt: number | undefined;
  runIn: number | undefined;
  priority: number | undefined;
  queue: string | undefined;
  tags: Readonly<Record<string, string>>;
  deadline: number | undefined;
  idempotency: { key: string; window: number } | undefined;
}

const callOptions = [
  'runAt',
  'runIn',
  'priority',
  'queue',
  'tags',
  'deadline',
  'idempotencyKey',
  'idempotencyWindow',
] as const;

/** Checks the options of `with` of a task. @throws TypeError or RangeError for a wrong one. */
export function readCallSettings(
  options: EnqueueOptions,
  task: string,
  warn: DurationWarning,
): CallSettings {
  const suffix = ` of task '${task}'`;
  const of = (option: keyof EnqueueOptions): string => option + suffix;
  const given = optionsObject<EnqueueOptions>('with()', options, callOptions);
  if (given.runAt !== undefined && given.runIn !== undefined)
    throw typeError(`runAt and runIn${suffix} cannot be combined; give one of them`);
  return {
    runAt: timeOption(of('runAt'), given.runAt),
    runIn: secondsOption(of('runIn'), given.runIn, undefined, { warn, zero: true }),
    priority: given.priority === undefined ? undefined : priorityOption(given.priority, 0, suffix),
    queue: given.queue === undefined ? undefined : queueOption(given.queue, '', suffix),
    tags: tagsOption(given.tags, suffix),
    deadline: secondsOption(of('deadline'), given.deadline, undefined, { warn }),
    idempotency: idempotencyOption(given, of('idempotencyWindow'), warn),
  };
}

/**
 * SQLite ends text at a NUL and cannot store half of a surrogate pair, so different keys would
 * count as one.
 */
const keyRules = {
  pattern: /^[^\0\p{Cs}]+$/u,
  accepted: 'a string of 1 to 256 characters without NUL characters and unpaired surrogates',
};

function idempotencyOption(
  { idempotencyKey, idempotencyWindow }: EnqueueOptions,
  option: string,
  warn: DurationWarning,
): CallSettings['idempotency'] {
  if (idempotencyKey === undefined) {
    if (idempotencyWindow !== undefined)
      throw typeError('idempotencyWindow needs an idempotencyKey');
    return undefined;
  }
  const window = secondsOption(option, idempotencyWindow, 86_400, { warn });
  return { key: stringOption('idempotencyKey', idempotencyKey, '', keyRules), window };
}

function timeOption(option: string, value: unknown): number | undefined {
  if (value === undefined) return undefined;
  if (!(value instanceof Date) || Number.isNaN(value.getTime()))
    throw wrongType(option, value, "a valid Date, such as new Date('2030-01-31T12:00:00Z')");
  return value.getTime();
}

const noOptions = readCallSettings({}, '', () => undefined);
const systemClock: TaskClock = { now: () => Date.now(), newTaskId };

/**
 * The wait before the first retry, for programs that do not know the definition; only fixed and
 * doubling waits can be told.
 */
function retryDelayOf({ delay, backoff }: Settings): NewTask['retryDelay'] {
  return { milliseconds: Math.round(delay * 1000), doubling: backoff === 2 };
}

/**
 * Makes a task of a definition: gives it an id, checks and encodes its arguments. Each enqueue does
 * this, so nothing is spread: objects of spread properties stay in memory longer than others.
 */
export function prepareTask(
  { name, settings }: Definition,
  args: readonly unknown[],
  {
    argsBytes,
    cipher,
    clock = systemClock,
  }: { argsBytes: number; cipher: Cipher; clock?: TaskClock | undefined },
  call: CallSettings = noOptions,
  source: NewTask['source'] = 'manual',
): NewTask {
  const encoded = cipher.encrypt(encodeArguments(name, args, argsBytes), name);
  const id = clock.newTaskId();
  // An id is ahead of a clock that was set back; when the task is to run is not.
  const now = clock.now();
  const runAt = Math.max(now, call.runAt ?? now + Math.round((call.runIn ?? 0) * 1000));
  const deadline = call.deadline ?? settings.deadline;
  return {
    id,
    name,
    args: encoded,
    queue: call.queue ?? settings.queue,
    priority: call.priority ?? settings.priority,
    tags: call.tags === undefined ? settings.tags : { ...settings.tags, ...call.tags },
    source,
    createdAt: timeOfTaskId(id),
    runAt,
    waitsFrom: call.runIn === undefined ? undefined : now,
    attempts: settings.retries + 1,
    concurrency: settings.concurrency,
    retryDelay: settings.retries > 0 ? retryDelayOf(settings) : undefined,
    interrupts: settings.requeueOnInterrupt ? settings.maxInterrupts : 0,
    deadlineAt: deadline === undefined ? undefined : runAt + Math.round(deadline * 1000),
    idempotency: call.idempotency && {
      key: call.idempotency.key,
      until: now + Math.round(call.idempotency.window * 1000),
    },
  };
}
