import { TaskflowError } from '../../errors.js';
import { grouped } from '../../show-value.js';
import type { Level } from '../ended-stats.js';

/**
 * Returns the names of an engine's keys. BullMQ's prefix is `{name}`. The braces are a hash tag,
 * which keeps all keys of an engine in one hash slot. Names that begin with `~` belong to this
 * package, because no BullMQ queue begins with it.
 */
export function engineKeys(name: string) {
  const prefix = `{${name}}`;
  const own = (key: string): string => `${prefix}:~${key}`;
  return {
    /** The prefix that any other BullMQ tool needs to see the queues. */
    prefix,
    /** Hash: the BullMQ queues of the engine, see `QueueCatalog`. */
    queues: own('queues'),
    /** Stream: the jobs that changed, for processes that read; see `ChangeNotes`. */
    changes: own('changes'),
    /** Text that expires: exists while a process reads the changes. */
    reading: own('reading'),
    /** Stream of one entry: replaced to wake the workers, see `Signals`. */
    signals: own('signals'),
    /** Hash: running jobs that are to be cancelled. */
    cancelling: own('cancelling'),
    /** Hash: the processes that have started this engine. */
    instances: own('instances'),
    /** Text: the process that last removed dead processes; expires after a minute. */
    forgetting: own('forgetting'),
    /** Text: the process that settles crashed jobs in this round; expires before the next. */
    settling: own('settling'),
    /** Text: the process that last removed old jobs; expires before the next round. */
    cleaning: own('cleaning'),
    /** Text: written to check whether Redis can be written; see `RedisHealth`. */
    probe: own('probe'),
    /** Text: random. If it changes, Redis has lost its data; see `DataMark`. */
    dataMark: own('data'),
    /** Hash: paused queues, with who paused them and why. */
    pauses: own('pauses'),
    /** Hash: sums of the tasks that ended in a period, by task and queue; see `Statistics`. */
    statistics: (level: Level, at: number): string => own(`stats:${level}:${at}`),
    /** Text: the number of the last sums that a process has added; see `Merges`. */
    lastMerge: (process: string): string => own(`merged:${process}`),
    /** Hash: groups of failures, by fingerprint. */
    failures: own('failures'),
    /** Sorted set: the fingerprints, by when each was seen last. */
    failureTimes: own('failure-times'),
    /** Hash: the definition of each schedule, by its name. */
    schedules: own('schedules'),
    /** Hash: the runs and the pause of each schedule, see `ScheduleRecords`. */
    scheduleStates: own('schedule-states'),
    /** Hash: which file was moved to this prefix, and how far the move is; see `MoveProgress`. */
    moved: own('moved'),
    /** Sorted set: jobs of a queue that ended with a marker, by end time. */
    marked: (queue: string, marker: Marker): string => own(`${marker}:${queue}`),
    /** Any key of a BullMQ queue, or of one of its jobs. */
    ofQueue: (queue: string, type: string): string => `${prefix}:${queue}:${type}`,
  } as const;
}

export type EngineKeys = ReturnType<typeof engineKeys>;

/** The BullMQ queue whose job schedulers tick for the schedules. Tildes in labels are escaped. */
export const tickQueue = '~ticks';

/** The ends that BullMQ does not know. Such a job is a failed job with a marker. */
export const markers = ['cancelled', 'interrupted'] as const;
export type Marker = (typeof markers)[number];

/** Maximum characters in the name of a BullMQ queue. */
const longestName = 800;

/**
 * Returns the BullMQ queue of a label, or of a task with a concurrency of its own under that label.
 * Colons separate the parts of BullMQ's keys, and a slash separates the task, so both are escaped.
 *
 * @throws TaskflowError INVALID_INPUT if the name is too long.
 */
export function queueName(label: string, task?: string): string {
  const name = escapedName(label, task);
  if (name.length > longestName) {
    const start = `${name.slice(0, 50)}…`;
    throw new TaskflowError(
      'INVALID_INPUT',
      `the name of the queue '${start}' is too long: it has ${grouped(name.length)} characters ` +
        `in BullMQ, and the limit is ${grouped(longestName)}`,
    );
  }
  return name;
}

/** Whether a name is the one that {@link queueName} returns. */
export function isQueueName(name: string, label: string, task?: string): boolean {
  return name !== '' && name.length <= longestName && name === escapedName(label, task);
}

function escapedName(label: string, task: string | undefined): string {
  return task === undefined ? escaped(label) : `${escaped(label)}/${escaped(task)}`;
}

function escaped(name: string): string {
  return name.replace(
    /[%:/~{}]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
