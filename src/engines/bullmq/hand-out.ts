import type { Database } from '../embedded/database.js';
import { holderOf } from '../embedded/insert.js';
import { idBytes } from '../embedded/rows.js';
import type { BatchResult, Claim } from '../embedded/write.js';
import type { HandOut } from '../table-home.js';
import { type HeldJob, JobLanes, type Lane, type WaitingJob } from './job-lanes.js';
import { JobQueues, type JobQueuesParts } from './job-queues.js';
import type { JournalBatch } from './replica.js';
import { jobsOf, toWaiting, waitingColumns, waitingTasks } from './waiting-jobs.js';

/** Milliseconds: between two words of what is held and two looks for what others no longer hold, and the first and longest pause after a job that was not there. */
const times = { renew: 5000, stalled: 5000, firstPause: 4, longestPause: 1000, unknown: 5000 };
/** Times in a row that no job was found for a task that waits, after which its job is added again. */
const mostMisses = 9;
/** Tasks of a lane whose lost jobs are added again at once, and that are jobs before they are in the tables. */
const sizes = { restored: 1000, announced: 20 };

interface HandOutParts extends JobQueuesParts {
  database: Database;
  /** Some are in hand, to be claimed. */
  inHand(): void;
}

interface Wish {
  names: Claim['names'];
  free(): number;
}

/** Tasks of a lane that could run now. */
interface Candidates {
  lane: Lane;
  tasks: WaitingJob[];
}

/**
 * Hands tasks out as jobs of BullMQ: each task that waits is one, whoever takes the job may claim the task, and BullMQ sees to
 * it that nobody else holds it meanwhile, and that what a process held which is gone is handed out again. What a task is
 * and how it ended is in the tables; a job that is lost is added again from them.
 */
export class JobHandOut implements HandOut {
  readonly #parts: HandOutParts;
  readonly #lanes: JobLanes;
  /** By the `seq` of its task: what is in hand, what a claim is under way for, and what runs. */
  readonly #held = new Map<number, HeldJob>();
  readonly #proposed = new Map<number, HeldJob>();
  readonly #running = new Map<number, HeldJob>();
  readonly #timers: NodeJS.Timeout[] = [];
  /** Jobs that were added before their tasks were in the tables. */
  readonly #announced = new Set<string>();
  #adding: Promise<void> = Promise.resolve();
  #wish: Wish | undefined;
  #seeking = false;
  #again = false;
  #misses = 0;
  #nextLook: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(parts: HandOutParts) {
    this.#parts = parts;
    this.#lanes = new JobLanes(new JobQueues(parts));
    const every = (milliseconds: number, call: () => Promise<void>): void => {
      this.#timers.push(setInterval(() => void call().catch(() => undefined), milliseconds).unref());
    };
    every(times.renew, () => this.#lanes.renew([...this.#held.values(), ...this.#proposed.values(), ...this.#running.values()]));
    every(times.stalled, () => this.#lanes.recoverStalled());
  }

  /** Takes jobs for as many tasks as could run here now. */
  seek(names: Claim['names'], free: () => number): void {
    this.#wish = { names, free };
    this.#again = true;
    if (this.#seeking || this.#closed) return;
    this.#seeking = true;
    void this.#seekAll();
  }

  async #seekAll(): Promise<void> {
    try {
      while (this.#again && !this.#closed) {
        this.#again = false;
        if (this.#wish) await this.#seekOnce(this.#wish);
      }
    } catch {
      this.#lookAt(Date.now() + times.longestPause);
    } finally {
      // In the turn of the last look at `#again`, so that nobody asks in between.
      this.#seeking = false;
    }
  }

  async #seekOnce({ names, free }: Wish): Promise<void> {
    // What was taken before a failure, or came back from a claim that was not written.
    if (this.#held.size > 0) this.#parts.inHand();
    const room = free() - this.#held.size - this.#proposed.size;
    if (room <= 0) return;
    // One time for both: what is not due yet for the first is still to come for the second.
    const now = Date.now();
    const candidates = this.#candidates(names, room, now);
    if (candidates.length > 0) return this.#take(candidates);
    this.#misses = 0;
    this.#lookAt(this.#nextDue(now));
  }

  /** What could run now, the first first, by lane. */
  #candidates(names: Claim['names'], room: number, now: number): Candidates[] {
    const { database } = this.#parts;
    const known = new Map(names);
    const found: (WaitingJob & { seq: number })[] = [];
    const lanes = database
      .all(
        `SELECT lane.id, lane.name FROM tally JOIN lane ON lane.id = tally.lane
         WHERE tally.status = 0 AND tally.n > 0 AND lane.queue NOT IN (SELECT queue FROM paused)`,
      )
      .filter(({ name }) => known.has(String(name)));
    const left = new Map<string, number>();
    for (const [name, limit] of names) if (limit !== undefined) left.set(name, limit - this.#runningOf(name));
    for (const { id = null, name } of lanes) {
      if ((left.get(String(name)) ?? room) <= 0) continue;
      const taken = this.#held.size + this.#proposed.size;
      for (const row of database.all(readyOfLane, id, now, room + taken)) {
        const seq = Number(row.seq);
        if (!this.#held.has(seq) && !this.#proposed.has(seq)) found.push({ seq, ...toWaiting(row) });
      }
    }
    found.sort((a, b) => b.priority - a.priority || (a.taskId < b.taskId ? -1 : 1));
    const byLane = new Map<string, Candidates>();
    let taken = 0;
    for (const task of found) {
      const { name, queue } = task.lane;
      const rest = left.get(name) ?? room;
      if (rest <= 0 || taken >= room) continue;
      left.set(name, rest - 1);
      taken += 1;
      const key = `${queue}\0${name}`;
      const entry = byLane.get(key) ?? { lane: task.lane, tasks: [] };
      byLane.set(key, entry);
      entry.tasks.push(task);
    }
    return [...byLane.values()];
  }

  /** Tasks of a name that run anywhere, or are about to here. */
  #runningOf(name: string): number {
    const row = this.#parts.database.get(
      'SELECT coalesce(sum(n), 0) AS n FROM tally WHERE status = 1 AND lane IN (SELECT id FROM lane WHERE name = ?)',
      name,
    );
    const mine = [...this.#held.values(), ...this.#proposed.values()].filter((held) => held.lane.name === name).length;
    return Number(row?.n) + mine;
  }

  async #take(candidates: readonly Candidates[]): Promise<void> {
    const taken = await Promise.all(candidates.flatMap(({ lane, tasks }) => tasks.map(() => this.#takeOne(lane))));
    if (this.#held.size > 0) this.#parts.inHand();
    if (taken.includes('held') || taken.includes('stale')) {
      this.#misses = 0;
      this.#again = true;
      return;
    }
    this.#misses += 1;
    // Others may have them in hand, or whoever stored the tasks has not added their jobs yet. Or they are lost.
    if (this.#misses >= mostMisses) await this.#restore(candidates.map(({ lane }) => lane));
    this.#lookAt(Date.now() + Math.min(times.firstPause * 2 ** (this.#misses - 1), times.longestPause));
  }

  async #takeOne(lane: Lane): Promise<'held' | 'stale' | 'back' | undefined> {
    const held = await this.#lanes.take(lane);
    if (!held) return undefined;
    const row = isTaskId(held.taskId)
      ? this.#parts.database.get('SELECT seq, status, attempt, run_at, ready_at FROM task WHERE id = ?', idBytes(held.taskId))
      : undefined;
    if (row?.status !== 0 || row.attempt !== held.attempt) {
      // Of a task that was stored just now, these tables may not know yet.
      if (!row && isTaskId(held.taskId) && this.#isNew(held.taskId)) {
        await this.#lanes.putBack(held, Date.now() + 50);
        return 'back';
      }
      await this.#lanes.finish(held);
      return 'stale';
    }
    if (typeof row.ready_at === 'number' && row.ready_at > Date.now()) {
      await this.#lanes.putBack(held, row.ready_at);
      return 'stale';
    }
    if (this.#closed) {
      await this.#lanes.putBack(held);
      return 'back';
    }
    this.#held.set(Number(row.seq), held);
    return 'held';
  }

  #isNew(taskId: string): boolean {
    return Date.now() - Number.parseInt(taskId.replaceAll('-', '').slice(0, 12), 16) < times.unknown;
  }

  /** Adds the jobs of the tasks of some lanes that could run, and makes those wait no longer that do not know it. */
  async #restore(lanes: readonly Lane[]): Promise<void> {
    for (const { name, queue } of lanes) {
      const lane = this.#parts.database.get('SELECT id FROM lane WHERE name = ? AND queue = ?', name, queue)?.id;
      const tasks = this.#parts.database.all(readyOfLane, lane ?? null, Date.now(), sizes.restored).map(toWaiting);
      await this.#lanes.add(tasks);
      await Promise.all(tasks.map(({ lane, jobId }) => this.#lanes.promote(lane, jobId)));
    }
  }

  #nextDue(now: number): number | undefined {
    const due = this.#parts.database.get('SELECT min(ready_at) AS due FROM task WHERE ready_at > ?', now)?.due;
    return typeof due === 'number' ? due : undefined;
  }

  /** In pieces, so that a clock which was set back makes nobody wait for long. */
  #lookAt(time: number | undefined): void {
    clearTimeout(this.#nextLook);
    if (time === undefined || this.#closed) return;
    const wait = Math.min(Math.max(0, time - Date.now()), 5000);
    this.#nextLook = setTimeout(() => this.#wish && this.seek(this.#wish.names, this.#wish.free), wait).unref();
  }

  /** Gives what is in hand to a claim. */
  propose(limit: number): number[] {
    const seqs = [...this.#held.keys()].slice(0, limit);
    for (const seq of seqs) move(seq, this.#held, this.#proposed);
    return seqs;
  }

  /** A batch was not written, as far as is known. */
  withdraw({ writes, claim }: JournalBatch): void {
    for (const seq of claim?.only ?? []) move(seq, this.#proposed, this.#held);
    this.#unannounce(writes);
  }

  /** Answers those that had been announced. */
  #unannounce(writes: JournalBatch['writes']): WaitingJob[] {
    if (this.#announced.size === 0) return [];
    const jobs = writes.flatMap((write) => (write.kind === 'enqueue' ? jobsOf(write.tasks) : []));
    return jobs.filter(({ jobId }) => this.#announced.delete(jobId));
  }

  /** A batch is on its way: the jobs of the tasks that it stores are sent with it, so that whoever reads of a task finds its job. */
  announce({ writes, at }: JournalBatch): void {
    const all = writes.flatMap((write) => (write.kind === 'enqueue' ? jobsOf(write.tasks) : []));
    // Many would hold up the batch, and whoever has them to run does not wait for one.
    if (all.length > sizes.announced) return;
    const { database } = this.#parts;
    // What another task stands for will not be stored.
    const jobs = all.filter(({ lane, key }) => key === undefined || holderOf(database, lane.name, key, at) === undefined);
    if (jobs.length === 0) return;
    for (const { jobId } of jobs) this.#announced.add(jobId);
    this.#lanes.add(jobs, at).then(
      (leftOut) => this.#addLeftOut(leftOut),
      // What cannot be added now is added when somebody misses it.
      () => undefined,
    );
  }

  /** Another process has asked for the same key: whose task has it is known once the journal has decided. */
  #addLeftOut(leftOut: readonly WaitingJob[]): void {
    for (const { jobId } of leftOut) this.#announced.delete(jobId);
    const waiting = leftOut.flatMap(({ taskId }) =>
      this.#parts.database.all(`${waitingTasks} WHERE task.id = ? AND status = 0`, idBytes(taskId)),
    );
    if (waiting.length > 0) this.#add(waiting.map(toWaiting));
  }

  /** A batch of this process is in the tables: its tasks that wait become jobs, and jobs that have done what they were for end. `before` is the number of the last change before it. */
  applied({ writes, claim }: JournalBatch, result: BatchResult, before: number): void {
    const { database } = this.#parts;
    for (const seq of claim?.only ?? []) this.#settle(seq, result);
    if (writes.length === 0) return;
    for (const write of writes) {
      if (write.kind === 'finish' || write.kind === 'abandon') {
        const failure = write.kind === 'finish' && write.result.status === 'failed' ? write.result.error.name : undefined;
        this.#end(write.seq, failure);
      } else if (write.kind === 'recover') {
        for (const seq of [...this.#running.keys()]) if (statusOf(database, seq) !== 1) this.#end(seq);
      } else if (write.kind === 'cancel') {
        for (const row of database.all(`${changedTasks} AND +status = 5`, before)) {
          const { lane, jobId } = toWaiting(row);
          // One that is left over is dropped by whoever takes it.
          void this.#lanes.remove(lane, jobId).catch(() => undefined);
        }
      } else if (write.kind === 'run') {
        for (const id of write.ids) {
          const row = database.get(`${waitingTasks} WHERE task.id = ? AND status = 0`, idBytes(id));
          if (!row) continue;
          const { lane, jobId } = toWaiting(row);
          void this.#lanes.promote(lane, jobId).catch(() => undefined);
        }
      }
    }
    const waiting = database
      .all(`${changedTasks} AND +status = 0`, before)
      .map(toWaiting)
      .filter(({ jobId }) => !this.#announced.has(jobId));
    for (const job of this.#unannounce(writes)) if (job.key !== undefined) this.#takeBack(job);
    if (waiting.length > 0) this.#add(waiting);
  }

  /** Removes the job of a task that was not stored, since another process was first to have a task with its key. */
  #takeBack({ jobId, lane, taskId }: WaitingJob): void {
    if (this.#parts.database.get('SELECT 1 FROM task WHERE id = ?', idBytes(taskId))) return;
    // One that is left over is dropped by whoever takes it.
    void this.#lanes.remove(lane, jobId).catch(() => undefined);
  }

  #add(waiting: readonly WaitingJob[]): void {
    // What cannot be added now is added when somebody misses it.
    this.#adding = Promise.all([this.#adding, this.#lanes.add(waiting).catch(() => undefined)]).then(() => {
      if (this.#wish) this.seek(this.#wish.names, this.#wish.free);
    });
  }

  #settle(seq: number, { claimed }: BatchResult): void {
    const held = this.#proposed.get(seq) ?? this.#held.get(seq);
    if (!held) return;
    this.#proposed.delete(seq);
    this.#held.delete(seq);
    if (claimed.some(([claimedSeq]) => claimedSeq === seq)) {
      this.#running.set(seq, held);
      return;
    }
    const back = statusOf(this.#parts.database, seq) === 0 ? this.#lanes.putBack(held) : this.#lanes.finish(held);
    void back.catch(() => undefined);
  }

  #end(seq: number, failure?: string): void {
    const held = this.#running.get(seq);
    if (!held) return;
    this.#running.delete(seq);
    // One that is gone, or held by somebody else by now, needs no end.
    void this.#lanes.finish(held, failure).catch(() => undefined);
  }

  /** Lets others have what is in hand. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const timer of this.#timers) clearInterval(timer);
    clearTimeout(this.#nextLook);
    const held = [...this.#held.values(), ...this.#proposed.values()];
    await Promise.all(held.map((each) => this.#lanes.putBack(each).catch(() => undefined)));
    await this.#adding;
    await this.#lanes.close();
  }
}

/** Tasks that changed after a number. The plus keeps SQLite from going through all that wait instead. */
const changedTasks = `${waitingTasks} WHERE rev > ?`;

/** Those whose time has come since the last claim are not marked as ready yet. */
const readyOfLane = `
  SELECT ${waitingColumns} FROM (
    SELECT * FROM (SELECT seq FROM task WHERE lane = ?1 AND status = 0 AND ready_at IS NULL ORDER BY priority DESC, id LIMIT ?3)
    UNION ALL SELECT * FROM (SELECT seq FROM task WHERE ready_at <= ?2 AND +lane = ?1 AND +status = 0 LIMIT ?3)
  ) AS ready JOIN task ON task.seq = ready.seq JOIN lane ON lane.id = task.lane`;

function statusOf(database: Database, seq: number): number {
  return Number(database.get('SELECT status FROM task WHERE seq = ?', seq)?.status ?? -1);
}

function move(seq: number, from: Map<number, HeldJob>, to: Map<number, HeldJob>): void {
  const held = from.get(seq);
  if (!held) return;
  from.delete(seq);
  to.set(seq, held);
}

/** Jobs that somebody else added are none of ours. */
function isTaskId(text: string): boolean {
  return /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/.test(text);
}
