import { TaskflowError } from '../../errors.js';
import type { Level } from '../embedded/rollup.js';

/**
 * Builds the names of an engine's keys. BullMQ's prefix is `{name}`. The braces are a hash tag, which keeps all keys of an engine
 * in one hash slot. Names that begin with `~` belong to this package, because no BullMQ queue begins with it.
 */
export class EngineKeys {
  /** The prefix that any other BullMQ tool needs to see the queues. */
  readonly prefix: string;

  constructor(name: string) {
    this.prefix = `{${name}}`;
  }

  /** Hash: which BullMQ queues there are, see `QueueCatalog`. */
  get queues(): string {
    return `${this.prefix}:~queues`;
  }

  /** Stream: which jobs changed, for processes that read; see `ChangeNotes`. */
  get changes(): string {
    return `${this.prefix}:~changes`;
  }

  /** Hash: running jobs that are to be cancelled. */
  get cancelling(): string {
    return `${this.prefix}:~cancelling`;
  }

  /** Hash: the processes that have started this engine. */
  get instances(): string {
    return `${this.prefix}:~instances`;
  }

  /** Text: held by the process that settles crashed jobs in this round. */
  get settling(): string {
    return `${this.prefix}:~settling`;
  }

  /** Text: held by the process that removed old jobs last, until it is time again. */
  get cleaning(): string {
    return `${this.prefix}:~cleaning`;
  }

  /** Text: written to find out whether Redis can be written; see `RedisHealth`. */
  get probe(): string {
    return `${this.prefix}:~probe`;
  }

  /** Text: made by the first process that finds none, so that another text means other data; see `DataMark`. */
  get dataMark(): string {
    return `${this.prefix}:~data`;
  }

  /** Hash: paused queues, with who paused them and why. */
  get pauses(): string {
    return `${this.prefix}:~pauses`;
  }

  /** Hash: sums of the tasks that ended within a stretch of time, by task and queue; see `Statistics`. */
  statistics(level: Level, at: number): string {
    return `${this.prefix}:~stats:${level}:${at}`;
  }

  /** Hash: groups of failures, by fingerprint. */
  get failures(): string {
    return `${this.prefix}:~failures`;
  }

  /** Sorted set: the fingerprints, by when each was seen last. */
  get failureTimes(): string {
    return `${this.prefix}:~failure-times`;
  }

  /** Hash: what each schedule is, by its name. */
  get schedules(): string {
    return `${this.prefix}:~schedules`;
  }

  /** Hash: what became of each schedule, see `ScheduleStates`. */
  get scheduleStates(): string {
    return `${this.prefix}:~schedule-states`;
  }

  /** Hash: which file was moved here, and how far the move is; see `MoveProgress`. */
  get moved(): string {
    return `${this.prefix}:~moved`;
  }

  /** Sorted set: jobs of a queue that ended with a marker, by the time of their end. */
  marked(queue: string, marker: Marker): string {
    return `${this.prefix}:~${marker}:${queue}`;
  }

  /** Any key of a BullMQ queue, or of one of its jobs. */
  ofQueue(queue: string, type: string): string {
    return `${this.prefix}:${queue}:${type}`;
  }
}

/** The BullMQ queue whose job schedulers tick for the schedules. No label begins with a tilde, since those are escaped. */
export const tickQueue = '~ticks';

/** Ends that BullMQ does not know: such a job is a failed one with a marker. */
export const markers = ['cancelled', 'interrupted'] as const;
export type Marker = (typeof markers)[number];

/** Longest name of a BullMQ queue that is made here. */
const longestName = 800;

/**
 * The BullMQ queue of a label, or of a task with a concurrency of its own under that label. Colons separate the parts of
 * BullMQ's keys, and a slash separates the task, so both are escaped.
 */
export function queueName(label: string, task?: string): string {
  const name = task === undefined ? escaped(label) : `${escaped(label)}/${escaped(task)}`;
  if (name.length > longestName) {
    const start = `${name.slice(0, 50)}…`;
    throw new TaskflowError(
      'INVALID_INPUT',
      `the queue '${start}' has ${name.length} characters in BullMQ; at most ${longestName} are possible`,
    );
  }
  return name;
}

function escaped(name: string): string {
  return name.replace(/[%:/~{}]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}
