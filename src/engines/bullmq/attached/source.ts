import type { CatalogEntry } from '../queues/queue-catalog.js';
import type { QueueEvent, QueueReads } from '../queues/queue-reads.js';
import type { JobHint } from '../read/job-hint.js';
import {
  type Answer,
  delayCommands,
  type JobNote,
  type JobSource,
  type KnownQueues,
  type KnownState,
  type QueueCommand,
  type ReadJob,
  readJobs,
} from '../read/source.js';

/**
 * Minimum milliseconds between two reports of lost events, because a queue that keeps few events
 * loses some repeatedly.
 */
const missedInterval = 5000;

/** The job state that each event reports. Other events change nothing that is shown. */
const stateOfEvent: ReadonlyMap<string, KnownState> = new Map([
  ...(
    ['waiting', 'active', 'completed', 'failed', 'waiting-children', 'delayed', 'removed'] as const
  ).map((state) => [state, state] as const),
  ...(['added', 'progress'] as const).map((event) => [event, 'changed'] as const),
]);

/** Is notified of what the events of attached queues say. */
export interface SourceListeners {
  /**
   * Every event since `at`, in Unix milliseconds, is read. It is called again after events were
   * lost.
   */
  started(at: number): void;
  /** A queue is no longer paused. */
  resumed(queue: string): void;
}

/**
 * Reads the jobs of attached queues, and BullMQ's events about them. Each queue may be on a
 * different Redis.
 */
export class AttachedSource implements JobSource {
  readonly #queues: ReadonlyMap<string, QueueReads>;
  /** The id of the last event that was read, by queue. */
  readonly #positions = new Map<string, string>();
  readonly #on: SourceListeners;
  #hasMissed = false;
  #started = Number.NEGATIVE_INFINITY;

  constructor(queues: ReadonlyMap<string, QueueReads>, on: SourceListeners) {
    this.#queues = queues;
    this.#on = on;
  }

  async start(): Promise<void> {
    const at = Date.now();
    await Promise.all(
      [...this.#queues].map(async ([name, reads]) =>
        this.#positions.set(name, await reads.newestEvent()),
      ),
    );
    this.#hasMissed = false;
    this.#started = performance.now();
    this.#on.started(at);
  }

  async hasMissed(): Promise<boolean> {
    return this.#reportsMissed();
  }

  #reportsMissed(): boolean {
    return this.#hasMissed && performance.now() - this.#started >= missedInterval;
  }

  async ask(commands: readonly QueueCommand[]): Promise<Answer<unknown[]>> {
    const found = await this.send(commands);
    return {
      found,
      ...(await this.#readNotes(
        commands.length === 0 ? this.#queues.keys() : commands.map(([queue]) => queue),
      )),
    };
  }

  async send(commands: readonly QueueCommand[]): Promise<unknown[]> {
    return this.#eachQueue(
      commands,
      ([queue]) => queue,
      (reads, some) =>
        reads.ask(
          some.map(([, name, key, ...args]) => [
            name,
            `${reads.base}${typeof key === 'string' ? key : `~${key.marker}`}`,
            ...args,
          ]),
        ),
    );
  }

  async read(jobs: readonly JobNote[]): Promise<Answer<ReadJob[]>> {
    const found = await this.peek(jobs);
    return { found, ...(await this.#readNotes(jobs.map(({ queue }) => queue))) };
  }

  async peek(jobs: readonly JobNote[]): Promise<ReadJob[]> {
    const [found, times] = await Promise.all([
      this.#eachQueue(
        jobs,
        ({ queue }) => queue,
        (reads, some) => reads.jobs(some.map(({ jobId }) => jobId)),
      ),
      this.send(delayCommands(jobs)),
    ]);
    return readJobs(
      jobs,
      found.map((json) => json && { json, fields: {} }),
      times,
    );
  }

  /**
   * Calls `work` once per queue with the items of that queue. Returns the results in the order of
   * the items.
   */
  async #eachQueue<T, R>(
    items: readonly T[],
    queueOf: (item: T) => string,
    work: (reads: QueueReads, some: readonly T[]) => Promise<readonly R[]>,
  ): Promise<R[]> {
    const places = new Map<string, number[]>();
    for (const [n, item] of items.entries()) {
      const queue = queueOf(item);
      const list = places.get(queue);
      if (list) list.push(n);
      else places.set(queue, [n]);
    }
    const answers: R[] = [];
    await Promise.all(
      [...places].map(async ([queue, list]) => {
        const reads = this.#queues.get(queue);
        if (!reads) throw new Error(`queue '${queue}' is not attached`);
        const found = await work(
          reads,
          list.map((n) => items[n] as T),
        );
        for (const [m, n] of list.entries()) answers[n] = found[m] as R;
      }),
    );
    return answers;
  }

  /** Reads the new events of some queues. */
  async #readNotes(queues: Iterable<string>): Promise<Omit<Answer<never>, 'found'>> {
    const found = await Promise.all([...new Set(queues)].map((queue) => this.#notesOf(queue)));
    return {
      notes: found.flatMap(({ notes }) => notes),
      more: found.some(({ more }) => more),
      missed: this.#reportsMissed(),
    };
  }

  async #notesOf(queue: string): Promise<{ notes: JobNote[]; more: boolean }> {
    const reads = this.#queues.get(queue);
    if (!reads) return { notes: [], more: false };
    const { events, last, more, missed } = await reads.eventsAfter(
      this.#positions.get(queue) ?? '0-0',
    );
    this.#positions.set(queue, last);
    if (missed) this.#hasMissed = true;
    if (events.some(({ event }) => event === 'resumed')) this.#on.resumed(queue);
    return { notes: events.flatMap((event) => noteOf(queue, event)), more };
  }
}

function noteOf(queue: string, event: QueueEvent): JobNote[] {
  const state = stateOfEvent.get(event.event);
  return state === undefined || event.jobId === ''
    ? []
    : [{ queue, jobId: event.jobId, state, hint: hintOf(event) }];
}

function hintOf({ event, name, failedReason, at }: QueueEvent): JobHint {
  if (event === 'added') return { isNew: true, createdAt: at, ...(name !== '' && { name }) };
  if (event === 'waiting') return { createdAt: at };
  if (event === 'active') return { startedAt: at, starts: 1 };
  if (event === 'completed') return { endedAt: at };
  return event === 'failed' ? { endedAt: at, failedReason } : {};
}

/** Lists the attached queues. The list never changes. */
export function attachedQueues(queues: ReadonlyMap<string, QueueReads>): KnownQueues {
  const entries = new Map(
    [...queues.keys()].map((queue): [string, CatalogEntry] => [queue, { queue, label: queue }]),
  );
  return {
    all: () => [...entries.values()],
    get: (queue) => entries.get(queue),
    covered: (label) =>
      [...entries.values()].filter(({ queue }) => label === undefined || queue === label),
    refresh: async () => undefined,
  };
}
