import { v7 as uuidv7 } from 'uuid';
import { numberOption, optionsObject, wrongType } from '../options.js';
import { encodeArguments } from './arguments.js';
import { type Definition, type EnqueueOptions, priorityOption, queueOption, tagsOption } from './definition.js';
import type { NewTask } from './engine.js';

/** Per-call options, checked once for any number of tasks. */
export interface CallSettings {
  runAt: number | undefined;
  runIn: number | undefined;
  priority: number | undefined;
  queue: string | undefined;
  tags: Readonly<Record<string, string>>;
}

/** Checks the options of `with`. @throws TypeError or RangeError for a wrong one. */
export function readCallSettings(options: EnqueueOptions): CallSettings {
  if (Object.hasOwn(options ?? {}, 'delay'))
    throw new TypeError("with() has no option 'delay', which is the wait before a retry; use runIn");
  const given = optionsObject<EnqueueOptions>('with()', options, ['runAt', 'runIn', 'priority', 'queue', 'tags']);
  if (given.runAt !== undefined && given.runIn !== undefined) throw new TypeError('runAt and runIn exclude each other');
  return {
    runAt: timeOption(given.runAt),
    runIn: numberOption('runIn', given.runIn, undefined, { max: 315_360_000 }),
    priority: given.priority === undefined ? undefined : priorityOption(given.priority, 0),
    queue: given.queue === undefined ? undefined : queueOption(given.queue, ''),
    tags: tagsOption(given.tags),
  };
}

function timeOption(value: unknown): number | undefined {
  if (value === undefined) return undefined;
  if (!(value instanceof Date) || Number.isNaN(value.getTime())) throw wrongType('runAt', value, 'a valid Date');
  return value.getTime();
}

const noOptions = readCallSettings({});

/** Makes a task of a definition: gives it an id, checks and encodes its arguments. */
export function prepareTask(
  { name, settings }: Definition,
  args: readonly unknown[],
  argsBytes: number,
  call: CallSettings = noOptions,
  source: NewTask['source'] = 'manual',
): NewTask {
  const encoded = encodeArguments(name, args, argsBytes);
  const id = uuidv7();
  const createdAt = timeOfId(id);
  return {
    id,
    name,
    args: encoded,
    queue: call.queue ?? settings.queue,
    priority: call.priority ?? settings.priority,
    tags: { ...settings.tags, ...call.tags },
    source,
    createdAt,
    runAt: Math.max(createdAt, call.runAt ?? createdAt + Math.round((call.runIn ?? 0) * 1000)),
    attempts: settings.retries + 1,
    interrupts: settings.requeueOnInterrupt ? settings.maxInterrupts : 0,
  };
}

/** The time in a UUIDv7. Taken from there, so that ordering by id is ordering by time. */
function timeOfId(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}
