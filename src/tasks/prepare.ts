import { encodeArguments } from './arguments.js';
import type { Definition } from './definition.js';
import type { Cipher } from './encryption.js';
import type { TaskEngine } from './engine.js';
import type { NewTask, TaskClock } from './new-task.js';
import { newTaskId, timeOfTaskId } from './task-id.js';
import { type CallSettings, readCallSettings, type Settings } from './task-options.js';

const noOptions = readCallSettings({}, '');
const systemClock: TaskClock = { now: () => Date.now(), newTaskId };

/**
 * The wait before the first retry, for programs that do not know the definition; only fixed and
 * doubling waits can be told.
 */
function retryDelayOf({ delay, backoff }: Settings): NewTask['retryDelay'] {
  return { milliseconds: Math.round(delay * 1000), doubling: backoff === 2 };
}

/** What all tasks of a manager are made with. */
export interface PrepareDeps {
  /** Maximum size of the arguments of a task, in bytes. */
  argsBytes: number;
  cipher: Cipher;
  engine: Pick<TaskEngine, 'clock'>;
}

/**
 * Makes a task of a definition: gives it an id, checks and encodes its arguments. Each enqueue does
 * this, so nothing is spread: objects of spread properties stay in memory longer than others.
 */
export function prepareTask(
  { name, settings }: Definition,
  args: readonly unknown[],
  { argsBytes, cipher, engine: { clock = systemClock } }: PrepareDeps,
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
    idempotency:
      call.idempotencyKey === undefined
        ? undefined
        : {
            key: call.idempotencyKey,
            until: now + Math.round(call.idempotencyWindow * 1000),
          },
  };
}
