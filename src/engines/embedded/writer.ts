import type { CommandResult, NewTask, StoredError } from '../../tasks/engine.js';
import { canCancel, canRetry } from '../../tasks/states.js';
import type { TaskStatus } from '../../tasks/types.js';
import { type Database, type Row, rollBack, sqliteCode } from './database.js';
import { Rollups } from './rollup.js';
import { summaryColumns, toSummary } from './rows.js';
import type { Batch, BatchResult, Claim, LogEntry, Write, WriteOutcome, Written } from './write.js';

type Of<K extends Write['kind']> = Extract<Write, { kind: K }>;

const interrupted: StoredError = {
  name: 'Interrupted',
  message: 'the process that ran this task ended before the task did',
  stack: null,
  fingerprint: '',
};

/** Entries of one log that are kept at most, whatever their end says. */
const maxJournal = 1_000_000;

/** All SQL that changes anything: one method for each transition, all of a batch in one transaction. */
export class Writer {
  readonly #database: Database;
  readonly #rollups: Rollups;
  /** Changes of the live counts, by name, queue and state. */
  readonly #tally = new Map<string, number>();
  #rev = 0;

  constructor(database: Database) {
    this.#database = database;
    this.#rollups = new Rollups(database);
  }

  /** Applies a batch. If one write makes the whole fail, each is tried alone, so that it fails alone. */
  apply({ writes, claim }: Batch): BatchResult {
    try {
      return this.#commit(writes, claim);
    } catch (error) {
      if (writes.length === 1 && !claim) return { outcomes: [failure(error)], claimed: [], nextDue: null };
      const outcomes = writes.map((write) => this.apply({ writes: [write], claim: undefined }).outcomes[0] ?? failure(error));
      return { outcomes, ...this.#claimAlone(claim) };
    }
  }

  #claimAlone(claim: Claim | undefined): Pick<BatchResult, 'claimed' | 'nextDue'> {
    try {
      return this.#commit([], claim);
    } catch {
      return { claimed: [], nextDue: null };
    }
  }

  #commit(writes: readonly Write[], claim: Claim | undefined): BatchResult {
    const database = this.#database;
    database.exec('BEGIN IMMEDIATE');
    try {
      const before = Number(database.get("SELECT value FROM meta WHERE key = 'rev'")?.value);
      this.#rev = before;
      const outcomes = writes.map((write): WriteOutcome => ({ ok: true, value: this.#write(write) }));
      const claimed = claim ? this.#claim(claim) : [];
      this.#writeTally();
      this.#rollups.write();
      if (this.#rev !== before) database.run("UPDATE meta SET value = ? WHERE key = 'rev'", this.#rev);
      const due = claim && database.get('SELECT min(ready_at) AS due FROM task WHERE ready_at IS NOT NULL')?.due;
      database.exec('COMMIT');
      return { outcomes, claimed, nextDue: typeof due === 'number' ? due : null };
    } catch (error) {
      this.#tally.clear();
      this.#rollups.discard();
      rollBack(database);
      throw error;
    }
  }

  #write(write: Write): Written[Write['kind']] {
    switch (write.kind) {
      case 'enqueue':
        for (const task of write.tasks) this.#insert(task);
        return undefined;
      case 'finish':
        return this.#finish(write);
      case 'log':
        return this.#log(write.logs);
      case 'retry':
        return write.ids.map((id) => this.#retry(id, write.at));
      case 'cancel':
        return write.ids.map((id) => this.#cancel(id, write.at));
      case 'abandon':
        return this.#abandon(write);
      case 'recover':
        return this.#recover(write);
      case 'set':
        return this.#set(write);
      case 'increment':
        return this.#increment(write);
      case 'replace':
        return this.#replace(write);
      case 'append':
        return this.#append(write);
    }
  }

  #nextRev(): number {
    this.#rev += 1;
    return this.#rev;
  }

  #insert(task: NewTask): void {
    const tags = Object.keys(task.tags).length === 0 ? null : JSON.stringify(task.tags);
    this.#database.run(
      `INSERT INTO task (id, rev, name, status, queue, priority, tags, source, created_at, run_at, ready_at, attempts, max_attempts, max_interrupts, args)
       VALUES (?, ?, ?, 'pending', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      task.id,
      this.#nextRev(),
      task.name,
      task.queue,
      task.priority,
      tags,
      task.source,
      task.createdAt,
      task.runAt,
      task.runAt > Date.now() ? task.runAt : null,
      task.attempts,
      task.attempts,
      task.interrupts,
      task.args,
    );
    this.#count(task.name, task.queue, 'pending', 1);
  }

  /** Takes the first ready tasks: by priority, then by age, over all the names. */
  #claim({ owner, names, limit, at }: Claim): Row[] {
    this.#database.run('UPDATE task SET ready_at = NULL WHERE ready_at <= ?', at);
    const ready = names.flatMap((name) =>
      this.#database.all(
        "SELECT id, priority FROM task WHERE status = 'pending' AND ready_at IS NULL AND name = ? ORDER BY priority DESC, id LIMIT ?",
        name,
        limit,
      ),
    );
    if (names.length > 1) ready.sort((a, b) => Number(b.priority) - Number(a.priority) || (String(a.id) < String(b.id) ? -1 : 1));
    return ready
      .slice(0, limit)
      .map(({ id }) => this.#begin(String(id), owner, at))
      .filter(isRow);
  }

  #begin(id: string, owner: string, at: number): Row | undefined {
    const row = this.#database.get(
      `UPDATE task SET status = 'running', rev = ?, owner = ?, attempt = attempt + 1, started_at = ?, ended_at = NULL,
         error_name = NULL, error_message = NULL, fingerprint = NULL, stack = NULL
       WHERE id = ? RETURNING ${summaryColumns}, attempts, log_lines, args`,
      this.#nextRev(),
      owner,
      at,
      id,
    );
    if (row) this.#move(row, 'pending', 'running');
    return row;
  }

  /** Ends an attempt, if it is still this owner's: a process that was taken for dead has nothing more to say. */
  #finish({ id, owner, attempt, at, result, logs }: Of<'finish'>): Row | undefined {
    this.#log(logs);
    const row = this.#running(id, owner, attempt);
    if (!row) return undefined;
    const error = result.status === 'failed' ? result.error : undefined;
    if (row.cancelling !== 1 && result.status === 'failed' && result.retryIn !== undefined) {
      this.#recordAttempt(row, 'failed', at, result.error);
      return this.#toPending(row, at + Math.round(result.retryIn * 1000), 0, result.error);
    }
    // Whatever a cancelled handler still returns or throws is not what was asked of it any more.
    if (row.cancelling === 1) return this.#end(row, 'cancelled', at, undefined, {});
    return this.#end(row, result.status, at, error, result.status === 'success' ? result : {});
  }

  #abandon({ id, owner, attempt, at }: Of<'abandon'>): Row | undefined {
    const row = this.#running(id, owner, attempt);
    return row && this.#end(row, 'cancelled', at, undefined, {});
  }

  #running(id: string, owner: string, attempt: number): Row | undefined {
    return this.#database.get(
      "SELECT id, name, queue, attempt, started_at, cancelling FROM task WHERE id = ? AND owner = ? AND attempt = ? AND status = 'running'",
      id,
      owner,
      attempt,
    );
  }

  /** Ends a running task for good. */
  #end(
    row: Row,
    status: TaskStatus,
    at: number,
    error: StoredError | undefined,
    { result = null, resultOmitted = null }: { result?: string | null; resultOmitted?: string | null },
  ): Row | undefined {
    if (status !== 'success' || Number(row.attempt) > 1) this.#recordAttempt(row, status, at, error);
    const ended = this.#database.get(
      `UPDATE task SET status = ?, rev = ?, owner = NULL, cancelling = 0, ended_at = ?, error_name = ?, error_message = ?, fingerprint = ?, stack = ?, result = ?, result_omitted = ?
       WHERE id = ? RETURNING ${summaryColumns}`,
      status,
      this.#nextRev(),
      at,
      error?.name ?? null,
      error?.message ?? null,
      error?.fingerprint || null,
      error?.stack ?? null,
      result,
      resultOmitted,
      row.id ?? null,
    );
    this.#move(row, 'running', status);
    this.#rollups.add(at, String(row.name), String(row.queue), status, Math.max(0, at - Number(row.started_at)));
    return ended;
  }

  /** Sends a task back to wait, until `runAt` if that is to come. */
  #toPending(row: Row, runAt: number, interrupts: number, error: StoredError): Row | undefined {
    const pending = this.#database.get(
      `UPDATE task SET status = 'pending', rev = ?, owner = NULL, cancelling = 0, run_at = ?, ready_at = ?, interrupts = interrupts + ?, max_attempts = max_attempts + ?,
         error_name = ?, error_message = ?, fingerprint = ?, stack = ?
       WHERE id = ? RETURNING ${summaryColumns}`,
      this.#nextRev(),
      runAt,
      runAt > Date.now() ? runAt : null,
      interrupts,
      interrupts,
      error.name,
      error.message,
      error.fingerprint || null,
      error.stack,
      row.id ?? null,
    );
    this.#move(row, 'running', 'pending');
    return pending;
  }

  #recordAttempt(row: Row, status: TaskStatus, at: number, error: StoredError | undefined): void {
    this.#database.run(
      'INSERT OR REPLACE INTO attempt (task, number, status, started_at, ended_at, error_name, error_message, stack) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
      row.id ?? null,
      row.attempt ?? null,
      status,
      row.started_at ?? null,
      at,
      error?.name ?? null,
      error?.message ?? null,
      error?.stack ?? null,
    );
  }

  #retry(id: string, at: number): CommandResult {
    const row = this.#find(id);
    if (!row) return { id, ok: false, code: 'TASK_NOT_FOUND' };
    const status = row.status as TaskStatus;
    if (!canRetry(status)) return { id, ok: false, code: 'TASK_STATE_CONFLICT', status };
    // A new series of attempts; the history of the old ones stays.
    const pending = this.#database.get(
      `UPDATE task SET status = 'pending', rev = ?, run_at = ?, ready_at = NULL, ended_at = NULL, interrupts = 0, max_attempts = attempt + attempts WHERE id = ? RETURNING ${summaryColumns}`,
      this.#nextRev(),
      at,
      id,
    );
    this.#move(row, status, 'pending');
    return pending ? { id, ok: true, task: toSummary(pending) } : { id, ok: false, code: 'TASK_NOT_FOUND' };
  }

  #cancel(id: string, at: number): CommandResult {
    const row = this.#find(id);
    if (!row) return { id, ok: false, code: 'TASK_NOT_FOUND' };
    const status = row.status as TaskStatus;
    if (!canCancel(status)) return { id, ok: false, code: 'TASK_STATE_CONFLICT', status };
    const cancelled = status === 'running' ? this.#askToCancel(id) : this.#cancelPending(row, at);
    return cancelled ? { id, ok: true, task: toSummary(cancelled) } : { id, ok: false, code: 'TASK_NOT_FOUND' };
  }

  #askToCancel(id: string): Row | undefined {
    return this.#database.get(`UPDATE task SET cancelling = 1, rev = ? WHERE id = ? RETURNING ${summaryColumns}`, this.#nextRev(), id);
  }

  #cancelPending(row: Row, at: number): Row | undefined {
    this.#move(row, 'pending', 'cancelled');
    this.#rollups.add(at, String(row.name), String(row.queue), 'cancelled', undefined);
    return this.#database.get(
      `UPDATE task SET status = 'cancelled', ready_at = NULL, started_at = NULL, ended_at = ?, rev = ? WHERE id = ? RETURNING ${summaryColumns}`,
      at,
      this.#nextRev(),
      row.id ?? null,
    );
  }

  #find(id: string): Row | undefined {
    return this.#database.get('SELECT id, name, queue, status FROM task WHERE id = ?', id);
  }

  /** Ends or hands back the running tasks of a process that is gone. */
  #recover({ owner, at }: Of<'recover'>): Row[] {
    const rows = this.#database.all(
      "SELECT id, name, queue, attempt, started_at, cancelling, interrupts, max_interrupts FROM task WHERE owner = ? AND status = 'running'",
      owner,
    );
    return rows.map((row) => this.#recoverOne(row, at)).filter(isRow);
  }

  #recoverOne(row: Row, at: number): Row | undefined {
    if (row.cancelling === 1) return this.#end(row, 'cancelled', at, undefined, {});
    if (Number(row.interrupts) >= Number(row.max_interrupts)) return this.#end(row, 'interrupted', at, interrupted, {});
    this.#recordAttempt(row, 'interrupted', at, interrupted);
    return this.#toPending(row, at, 1, interrupted);
  }

  #log(lines: readonly LogEntry[]): undefined {
    for (const { task, n, at, attempt, level, message, fields } of lines) {
      this.#database.run(
        'INSERT OR IGNORE INTO log (task, n, at, attempt, level, message, fields) VALUES (?, ?, ?, ?, ?, ?, ?)',
        task,
        n,
        at,
        attempt,
        level,
        message,
        fields,
      );
    }
    const last = new Map(lines.map(({ task, n }) => [task, n]));
    for (const [task, n] of last) this.#database.run('UPDATE task SET log_lines = max(log_lines, ?) WHERE id = ?', n, task);
    return undefined;
  }

  #set({ key, value, expiresAt, at }: Of<'set'>): undefined {
    this.#database.run('DELETE FROM shared WHERE expires_at <= ?', at);
    this.#put(key, value, expiresAt);
    return undefined;
  }

  #increment({ key, expiresAt, at }: Of<'increment'>): number {
    const row = this.#database.get('SELECT value, expires_at FROM shared WHERE key = ? AND expires_at > ?', key, at);
    const stored: unknown = row && JSON.parse(String(row.value));
    const value = (typeof stored === 'number' ? stored : 0) + 1;
    this.#put(key, JSON.stringify(value), row ? Number(row.expires_at) : expiresAt);
    return value;
  }

  #put(key: string, value: string, expiresAt: number): void {
    this.#database.run(
      'INSERT OR REPLACE INTO shared (key, value, expires_at, rev) VALUES (?, ?, ?, ?)',
      key,
      value,
      expiresAt,
      this.#nextRev(),
    );
  }

  #replace({ key, before, value, expiresAt, at }: Of<'replace'>): boolean {
    const row = this.#database.get('SELECT value FROM shared WHERE key = ? AND expires_at > ?', key, at);
    if ((row?.value ?? null) !== before) return false;
    this.#put(key, value, expiresAt);
    return true;
  }

  #append({ log, entry, expiresAt, at }: Of<'append'>): undefined {
    const last = Number(this.#database.get('SELECT max(n) AS n FROM journal WHERE log = ?', log)?.n ?? 0);
    this.#database.run('INSERT INTO journal (log, n, entry, expires_at) VALUES (?, ?, ?, ?)', log, last + 1, entry, expiresAt);
    // A few of the oldest with each new one, so that a log is bounded and no commit is ever long.
    this.#database.run(
      'DELETE FROM journal WHERE log = ? AND n IN (SELECT n FROM journal WHERE log = ? ORDER BY n LIMIT 10) AND (expires_at <= ? OR n <= ?)',
      log,
      log,
      at,
      last - maxJournal,
    );
    return undefined;
  }

  #move(row: Row, from: TaskStatus, to: TaskStatus): void {
    this.#count(String(row.name), String(row.queue), from, -1);
    this.#count(String(row.name), String(row.queue), to, 1);
  }

  #count(name: string, queue: string, status: TaskStatus, by: number): void {
    const key = `${name}\0${queue}\0${status}`;
    this.#tally.set(key, (this.#tally.get(key) ?? 0) + by);
  }

  #writeTally(): void {
    for (const [key, by] of this.#tally) {
      if (by === 0) continue;
      const [name = '', queue = '', status = ''] = key.split('\0');
      this.#database.run(
        'INSERT INTO tally (name, queue, status, n) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n',
        name,
        queue,
        status,
        by,
      );
    }
    this.#tally.clear();
  }
}

function isRow(row: Row | undefined): row is Row {
  return row !== undefined;
}

function failure(error: unknown): WriteOutcome {
  return { ok: false, error: { message: error instanceof Error ? error.message : String(error), errcode: sqliteCode(error) } };
}
