import { setImmediate } from 'node:timers/promises';
import { type JobRef, partsOf } from '../jobs/job-ids.js';
import type { Backfill } from './backfill.js';
import { type EndedGroup, endedGroups, type Group } from './groups.js';
import { factCommands, factsOf, type QueueFacts } from './queue-facts.js';
import { type JobNote, type QueueCommand, rangeCommand, scored, waitingSets } from './source.js';
import type { ModelDeps } from './window-feed.js';

interface ReconcilerDeps extends ModelDeps {
  backfill: Backfill;
}

/**
 * Limits: ended jobs that are compared if some are missing, ended tasks that are checked per
 * comparison, and waiting jobs per sample.
 */
const most = { ended: 1000, step: 500, sample: 50 };
/**
 * Milliseconds between two full comparisons of a queue. If a comparison finds nothing, the pause is
 * doubled, up to `longest`.
 */
const pause = { first: 2000, longest: 60_000 };

/**
 * Compares the window with BullMQ from time to time, because some changes leave no note: BullMQ
 * sends no event when its retention removes jobs, other programs write no notes, and a process may
 * end before it has sent one. The cost of a comparison grows with the number of running jobs and
 * queues. Only if it finds a difference, it reads the ids of a queue, as many as fit into the
 * window.
 */
export class Reconciler {
  readonly #deps: ReconcilerDeps;
  /** When a queue may be compared in full again, and the length of that pause. */
  readonly #pauses = new Map<string, { until: number; next: number }>();
  /** The last task of the last sample, by group and queue. */
  readonly #sampled = new Map<string, string>();

  constructor(deps: ReconcilerDeps) {
    this.#deps = deps;
  }

  /** Runs one comparison. Call it only in a turn of the feed, after the feed has caught up. */
  async run(): Promise<void> {
    const { feed, catalog, source, rules } = this.#deps;
    const queues = catalog.all().map(({ queue }) => queue);
    const isStale = feed.isStale || (await source.hasMissed());
    if (isStale) await source.start();
    const found = await feed.ask(factCommands(queues));
    // If there are notes that were not applied, the counts and the window are from different
    // moments.
    const isQuiet = !feed.hasNoted;
    for (const each of factsOf(queues, found)) {
      this.#compareRunning(each);
      const isApart = isQuiet ? this.#isApart(each) : await this.#isApartBySample(each);
      if (isStale) {
        if (!rules.keepsEnded) await this.#dropLost(each);
        for (const group of endedGroups) this.#deps.backfill.again(each.queue, group);
      }
      const isDue = (this.#pauses.get(each.queue)?.until ?? 0) <= Date.now();
      if (isStale || (isDue && (isApart || this.#lacksNewest(each))))
        await this.#compareAll(each, isQuiet);
      if (!rules.keepsEnded) await this.#dropRemoved(each);
    }
    feed.isStale = false;
    await feed.apply();
  }

  /** Notes changes for which no note was written. Returns whether there are any. */
  #noteLost(changes: readonly JobNote[]): boolean {
    const { feed } = this.#deps;
    const lost = changes.filter((change) => !feed.isNoted(change));
    feed.note(lost);
    return lost.length > 0;
  }

  #compareRunning({ queue, active }: QueueFacts): void {
    const jobs = active.map((jobId): JobNote => ({ queue, jobId, state: 'active' }));
    this.#noteLost([...this.#notIn(['running'], jobs), ...this.#absent(queue, 'running', jobs)]);
  }

  /** Returns the tasks that the window has in a group, and BullMQ's sets of that group do not. */
  #absent(queue: string, group: 'pending' | 'running', jobs: readonly JobRef[]): JobNote[] {
    const present = new Set(jobs.map(({ jobId }) => jobId));
    const inWindow = this.#deps.window.jobIdsOf(queue, group);
    return unknown(
      queue,
      inWindow.filter((jobId) => !present.has(jobId)),
    );
  }

  /** Returns the jobs that the window does not have in one of some groups. */
  #notIn<T extends JobRef>(groups: readonly Group[], jobs: readonly T[]): T[] {
    const found = this.#deps.window.groupsOf(jobs);
    return jobs.filter((_, n) => !groups.some((group) => group === found[n]));
  }

  /** Whether the counts of a queue differ from those of the groups that the window has in full. */
  #isApart(facts: QueueFacts): boolean {
    const { window, feed } = this.#deps;
    const { queue, waiting } = facts;
    const isSame = window.size('pending', queue) === waiting;
    if (isSame) feed.setWhole(queue, 'pending');
    return (
      (feed.isWhole(queue, 'pending') && !isSame) ||
      endedGroups.some((group) => this.#lacks(facts, group))
    );
  }

  /**
   * Compares some waiting jobs of a busy queue, different ones each time. Its counts always differ
   * from those of the window, because its jobs move while they are counted.
   */
  async #isApartBySample({ queue, counts, waiting }: QueueFacts): Promise<boolean> {
    const { window, feed } = this.#deps;
    if (!feed.isWhole(queue, 'pending') || window.size('pending', queue) === waiting) return false;
    const { jobIds: known, moveOn } = this.#sample(queue, 'pending', most.sample);
    const sets = waitingSets.map((set, n) => {
      const start = Math.floor(Math.random() * Math.max(1, (counts[n] ?? 0) - most.sample));
      return rangeCommand(queue, set, start, most.sample);
    });
    const found = await feed.ask([
      ...known.map((jobId): QueueCommand => [queue, 'exists', jobId]),
      ...sets,
    ]);
    const gone = known.filter((_, n) => found[n] !== 1);
    const present = waitingJobs(queue, found.slice(known.length));
    const groups = window.groupsOf(present);
    // If one job is gone, its neighbours may be gone too, so the next sample begins at the same
    // place.
    if (gone.length === 0) moveOn();
    return this.#noteLost([
      ...unknown(queue, gone),
      ...present.filter((_, n) => groups[n] === undefined),
    ]);
  }

  /**
   * Returns the jobs of some tasks of a group in the window: those after the last sample, or the
   * first ones after all have been checked. `moveOn` makes the next sample begin after this one.
   */
  #sample(
    queue: string,
    group: 'pending' | EndedGroup,
    size: number,
  ): { jobIds: string[]; moveOn(): void } {
    const { window, ids } = this.#deps;
    const key = `${group}:${queue}`;
    const rows = window.idsAfter(queue, group, this.#sampled.get(key), size);
    const last = rows.length < size ? undefined : rows.at(-1);
    return {
      jobIds: ids.names(rows).map((name) => partsOf(name).jobId),
      moveOn: () => {
        if (last === undefined) this.#sampled.delete(key);
        else this.#sampled.set(key, last);
      },
    };
  }

  #lacks(facts: QueueFacts, group: EndedGroup): boolean {
    const { window, feed } = this.#deps;
    return feed.isWhole(facts.queue, group) && window.size(group, facts.queue) < facts[group].n;
  }

  /** Whether the last job that ended in a queue is not an ended task in the window. */
  #lacksNewest({ queue, completed, failed }: QueueFacts): boolean {
    const newest = [completed.newest, failed.newest]
      .filter((jobId) => jobId !== undefined)
      .map((jobId) => ({ queue, jobId }));
    return this.#notIn(endedGroups, newest).some((job) => !this.#deps.feed.isNoted(job));
  }

  /** Compares the ids of the jobs that ended last, and of the waiting jobs if all fit. */
  async #compareAll(facts: QueueFacts, isQuiet: boolean): Promise<void> {
    const { queue, waiting } = facts;
    // More jobs may be missing than the newest ones, which are compared below.
    for (const group of endedGroups)
      if (isQuiet && this.#lacks(facts, group)) this.#deps.backfill.again(queue, group);
    const hasFound = [
      await this.#compareEnded(queue),
      waiting <= this.#deps.limits.pending && (await this.#compareWaiting(queue)),
    ];
    const last = this.#pauses.get(queue);
    const next = hasFound.includes(true)
      ? pause.first
      : Math.min(pause.longest, 2 * (last?.next ?? pause.first / 2));
    this.#pauses.set(queue, { until: Date.now() + next, next });
  }

  async #compareWaiting(queue: string): Promise<boolean> {
    const { feed, limits } = this.#deps;
    const found = await feed.ask(
      waitingSets.map((set) => rangeCommand(queue, set, 0, limits.pending)),
    );
    const jobs = waitingJobs(queue, found);
    return this.#noteLost([
      ...this.#notIn(['pending'], jobs),
      ...this.#absent(queue, 'pending', jobs),
    ]);
  }

  async #compareEnded(queue: string): Promise<boolean> {
    const { feed } = this.#deps;
    const found = await feed.ask(
      endedGroups.map((set) => [queue, 'zrevrange', set, 0, most.ended - 1, 'WITHSCORES']),
    );
    const missing = endedGroups.flatMap((state, n) => {
      // The window does not hold jobs that ended earlier.
      const oldest = feed.wholeAfter(queue, state);
      const jobs = scored(found[n])
        .filter(([, score]) => score > oldest)
        .map(([jobId]): JobNote => ({ queue, jobId, state }));
      return this.#notIn([state], jobs);
    });
    // The newest end comes first in each set, and the oldest end is noted first.
    return this.#noteLost(missing.reverse());
  }

  /**
   * Drops tasks that ended after the newest ended job in BullMQ: Redis has lost them, with all of
   * its data or with its latest changes.
   */
  async #dropLost(facts: QueueFacts): Promise<void> {
    // Each step blocks the event loop for some milliseconds, so other work runs between the steps.
    for (const group of endedGroups)
      while (this.#deps.window.dropEnded(facts.queue, group, facts[group].newestEnd) > 0)
        await setImmediate();
  }

  /**
   * Drops tasks that ended before the oldest ended job in BullMQ. If the window still has more of
   * them than BullMQ, another program must have deleted some, so a few are checked each time.
   */
  async #dropRemoved({ queue, ...facts }: QueueFacts): Promise<void> {
    const { window, feed } = this.#deps;
    for (const group of endedGroups) {
      const { n, oldest } = facts[group];
      // If the set is empty, a user has emptied it, and the check below drops its tasks.
      if (oldest !== undefined) window.dropEnded(queue, group, undefined, oldest);
      if (window.size(group, queue) <= n) continue;
      const { jobIds, moveOn } = this.#sample(queue, group, most.step);
      const found = await feed.ask(jobIds.map((jobId) => [queue, 'zscore', group, jobId]));
      const gone = jobIds.filter((_, n) => found[n] === null);
      this.#noteLost(unknown(queue, gone));
      moveOn();
    }
  }
}

/** Returns the jobs in the answers to the commands that read BullMQ's waiting sets. */
function waitingJobs(queue: string, answers: readonly unknown[]): JobNote[] {
  return waitingSets.flatMap(({ state }, n) =>
    (answers[n] as string[]).map((jobId): JobNote => ({ queue, jobId, state })),
  );
}

/** Returns notes of jobs whose state must be read from BullMQ's sets. */
function unknown(queue: string, jobIds: readonly string[]): JobNote[] {
  return jobIds.map((jobId) => ({ queue, jobId, state: 'unknown' }));
}
