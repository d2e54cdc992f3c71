import type { StoredError } from '../../tasks/engine.js';
import { fingerprint } from '../../tasks/fingerprint.js';
import type { TaskStatus } from '../../tasks/types.js';
import type { Database, Row } from './database.js';
import { type ClaimedRow, detailsText, stateCode } from './rows.js';
import { move, summaryRow, type Transaction, wantedRow } from './transaction.js';
import { introduce } from './workers.js';
import type { BatchResult, Claim, LogEntry, ProgressEntry, Write } from './write.js';

type Of<K extends Write['kind']> = Extract<Write, { kind: K }>;

const interrupted: StoredError = {
  name: 'Interrupted',
  message: 'the process that ran this task ended before the task did',
  stack: null,
  fingerprint: '',
};

const notStarted: StoredError = {
  name: 'TimeoutError',
  message: 'the deadline of the task passed before it was started',
  stack: null,
  fingerprint: '',
};

interface Ready {
  seq: number;
  id: string;
  priority: number;
  deadlineAt: number | null;
  /** Of the failure that it is tried again after. */
  fingerprint: string | null;
  /** Of its arguments. */
  bytes: number;
  lane: number;
  name: string;
  queue: string;
}

/** Bytes of arguments that one claim takes, so that the answer stays well below the longest string of JavaScript. */
const claimBytes = 32 * 1024 * 1024;

/** Takes the first ready tasks: by priority, then by age, over all lanes that may run. Those whose deadline has passed end here. */
export function claim(transaction: Transaction, wish: Claim): Pick<BatchResult, 'claimed' | 'begun' | 'expired' | 'more'> {
  const { database, ledger } = transaction;
  const { owner, limit, at, bytes = claimBytes } = wish;
  database.run('UPDATE task SET ready_at = NULL WHERE ready_at <= ?', at);
  const claimed: ClaimedRow[] = [];
  const expired: Row[] = [];
  let room = bytes;
  let more = false;
  for (;;) {
    ledger.writeTally();
    const ready = readyTasks(transaction, wish, limit - claimed.length);
    const late = ready.filter(({ deadlineAt }) => deadlineAt !== null && deadlineAt <= at);
    for (const task of late) expired.push(expire(transaction, task, at));
    const timely = late.length === 0 ? ready : ready.filter((task) => !late.includes(task));
    const fitting = timely.filter((task, index) => {
      room -= task.bytes;
      return room >= 0 || claimed.length + index === 0;
    });
    if (fitting.length > 0) claimed.push(...begin(transaction, fitting, owner, at));
    more = fitting.length < timely.length;
    if (late.length === 0 || more) break;
  }
  const begun = transaction.wanted.has('running') ? claimed.map(([seq]) => summaryRow(transaction, seq)) : [];
  return { claimed, begun, expired, more };
}

function readyTasks({ database }: Transaction, wish: Claim, limit: number): Ready[] {
  const names = new Map(wish.names);
  const lanes = database.all(
    `SELECT lane.id, lane.name, lane.queue FROM tally JOIN lane ON lane.id = tally.lane
     WHERE tally.status = 0 AND tally.n > 0 AND lane.queue NOT IN (SELECT queue FROM paused)`,
  );
  const room = new Map<string, number>();
  const ready: Ready[] = [];
  for (const row of lanes) {
    const lane = { lane: Number(row.id), name: String(row.name), queue: String(row.queue) };
    if (!names.has(lane.name)) continue;
    const left = room.get(lane.name) ?? roomOf(database, lane.name, names.get(lane.name) ?? Number.POSITIVE_INFINITY);
    room.set(lane.name, left);
    if (left > 0) ready.push(...readyOfLane(database, lane, Math.min(left, limit), wish.only));
  }
  if (lanes.length > 1) ready.sort((a, b) => b.priority - a.priority || (a.id < b.id ? -1 : 1));
  return ready
    .filter(({ name }) => {
      const left = room.get(name) ?? 0;
      room.set(name, left - 1);
      return left > 0;
    })
    .slice(0, limit);
}

/** As one text, which the driver gives sooner than as many values. */
function readyOfLane(
  database: Database,
  lane: Pick<Ready, 'lane' | 'name' | 'queue'>,
  limit: number,
  only: readonly number[] | undefined,
): Ready[] {
  // Of a few that are named it goes to each, and not through all of the lane.
  const from = only
    ? 'json_each(?3) AS wanted CROSS JOIN task ON task.seq = wanted.value WHERE +lane = ?1 AND +status = 0'
    : 'task WHERE lane = ?1 AND status = 0';
  const row = database.get(
    `SELECT json_group_array(json_array(seq, hex(id), priority, deadline_at, fingerprint, bytes)) AS ready FROM (
       SELECT seq, task.id, priority, deadline_at, fingerprint, octet_length(args) AS bytes FROM ${from} AND ready_at IS NULL ORDER BY priority DESC, task.id LIMIT ?2)`,
    lane.lane,
    limit,
    ...(only ? [JSON.stringify(only)] : []),
  );
  const tasks = JSON.parse(String(row?.ready)) as [number, string, number, number | null, string | null, number][];
  return tasks.map(([seq, id, priority, deadlineAt, fingerprint, bytes]) => ({
    seq,
    id,
    priority,
    deadlineAt,
    fingerprint,
    bytes,
    ...lane,
  }));
}

/** How many more of a name may run. */
function roomOf(database: Database, name: string, concurrency: number): number {
  if (concurrency === Number.POSITIVE_INFINITY) return concurrency;
  const running = database.get(
    'SELECT coalesce(sum(n), 0) AS n FROM tally WHERE status = 1 AND lane IN (SELECT id FROM lane WHERE name = ?)',
    name,
  );
  return concurrency - Number(running?.n);
}

function begin(transaction: Transaction, tasks: readonly Ready[], owner: string, at: number): ClaimedRow[] {
  const { database, ledger } = transaction;
  const rows = database.all(
    `UPDATE task SET status = 1, rev = ?1 + each.key, owner = ?2, attempt = attempt + 1, started_at = ?3, ended_at = NULL, duration = NULL,
       progress = NULL, progress_text = NULL, error_name = NULL, error_message = NULL, fingerprint = NULL, stack = NULL,
       error_details = NULL
     FROM json_each(?4) AS each WHERE task.seq = each.value
     RETURNING seq, json_array(tags, attempt, max_attempts, attempts, log_lines, deadline_at, args) AS rest`,
    ledger.nextRevs(tasks.length),
    owner,
    at,
    JSON.stringify(tasks.map(({ seq }) => seq)),
  );
  const rests = new Map(rows.map(({ seq, rest }) => [seq, String(rest)]));
  return tasks.map((task) => {
    move(transaction, task.lane, 'pending', 'running');
    if (task.fingerprint !== null) ledger.countKind(task.fingerprint, 'pending', -1);
    const rest = JSON.parse(rests.get(task.seq) ?? '') as [string | null, number, number, number, number, number | null, string];
    return [task.seq, task.id, task.name, task.queue, ...rest];
  });
}

function expire(transaction: Transaction, { seq, lane, name, fingerprint: before }: Ready, at: number): Row {
  transaction.database.run('UPDATE task SET started_at = NULL WHERE seq = ?', seq);
  const error = { ...notStarted, fingerprint: fingerprint(name, notStarted) };
  end(transaction, { seq, lane, started_at: null, fingerprint: before }, 'pending', 'failed', at, error, {});
  return summaryRow(transaction, seq);
}

/**
 * Ends attempts that succeeded, all of a batch with one statement; answers those that are not that simple: of a task that is
 * being cancelled, or is not this owner's any more.
 */
export function succeed(transaction: Transaction, writes: readonly Of<'finish'>[]): Set<number> {
  const { database, ledger, rollups } = transaction;
  const list = writes.map(({ seq, owner, attempt, at, result }) => {
    const { result: value = null, resultOmitted = null } = result as Result;
    return [seq, owner, attempt, at, value, resultOmitted];
  });
  const rows = database.all(
    `UPDATE task SET status = 2, rev = ?1 + each.key, owner = NULL, ended_at = each.value ->> 3, duration = max(0, (each.value ->> 3) - started_at),
       result = each.value ->> 4, result_omitted = each.value ->> 5
     FROM json_each(?2) AS each
     WHERE task.seq = each.value ->> 0 AND owner = each.value ->> 1 AND attempt = each.value ->> 2 AND status = 1 AND cancelling = 0
     RETURNING json_array(seq, lane, attempt, started_at, ended_at, duration) AS ended`,
    ledger.nextRevs(list.length),
    JSON.stringify(list),
  );
  const left = new Set(writes.map(({ seq }) => seq));
  for (const row of rows) {
    const [seq, lane, attempt, started, at, duration] = JSON.parse(String(row.ended)) as [number, number, number, number, number, number];
    left.delete(seq);
    move(transaction, lane, 'running', 'success');
    rollups.add(at, lane, 'success', duration);
    if (attempt > 1) recordAttempt(transaction, { seq, attempt, started_at: started }, 'success', at, undefined);
  }
  return left;
}

/** Ends an attempt, if it is still this owner's. */
export function finish(transaction: Transaction, { seq, owner, attempt, at, result, logs, progress }: Of<'finish'>): Row | undefined {
  if (logs) writeLog(transaction, logs);
  if (progress) writeProgress(transaction, owner, [progress]);
  const row = heldRow(transaction, seq, owner, attempt);
  if (!row) return undefined;
  // Whatever a cancelled handler still returns or throws is not what was asked of it any more.
  if (row.cancelling === 1) return endAttempt(transaction, row, 'cancelled', at, undefined, {});
  if (result.status === 'success') return endAttempt(transaction, row, 'success', at, undefined, result);
  if (result.retryIn === undefined) return endAttempt(transaction, row, 'failed', at, result.error, {});
  recordAttempt(transaction, row, 'failed', at, result.error);
  return toPending(transaction, row, at + Math.round(result.retryIn * 1000), at, 0, result.error);
}

/** Gives up a cancelled attempt whose handler goes on. */
export function abandon(transaction: Transaction, { seq, owner, attempt, at }: Of<'abandon'>): Row | undefined {
  const row = heldRow(transaction, seq, owner, attempt);
  return row && endAttempt(transaction, row, 'cancelled', at, undefined, {});
}

function heldRow({ database }: Transaction, seq: number, owner: string, attempt: number): Row | undefined {
  return database.get(
    'SELECT seq, lane, attempt, started_at, cancelling FROM task WHERE seq = ? AND owner = ? AND attempt = ? AND status = 1',
    seq,
    owner,
    attempt,
  );
}

interface Result {
  result?: string | null;
  resultOmitted?: string | null;
}

function endAttempt(
  transaction: Transaction,
  row: Row,
  status: TaskStatus,
  at: number,
  error: StoredError | undefined,
  result: Result,
): Row | undefined {
  // That a task succeeded at the first try is told by the task itself.
  if (status !== 'success' || Number(row.attempt) > 1) recordAttempt(transaction, row, status, at, error);
  end(transaction, row, 'running', status, at, error, result);
  return wantedRow(transaction, Number(row.seq), status);
}

/** Ends a task for good, and sums up how long its last attempt ran. A clock that was set back makes that nothing, not less. */
export function end(
  transaction: Transaction,
  row: Row,
  from: TaskStatus,
  status: TaskStatus,
  at: number,
  error: StoredError | undefined,
  { result = null, resultOmitted = null }: Result,
): void {
  const { database, ledger, rollups, failures } = transaction;
  if (typeof row.fingerprint === 'string') ledger.countKind(row.fingerprint, from, -1);
  const duration = typeof row.started_at === 'number' ? Math.max(0, at - row.started_at) : null;
  database.run(
    `UPDATE task SET status = ?, rev = ?, owner = NULL, cancelling = 0, ready_at = NULL, ended_at = ?, duration = ?, error_name = ?, error_message = ?,
       fingerprint = ?, stack = ?, error_details = ?, searchable = ?, result = ?, result_omitted = ? WHERE seq = ?`,
    stateCode[status],
    ledger.nextRev(),
    at,
    duration,
    error?.name ?? null,
    error?.message ?? null,
    error?.fingerprint || null,
    error?.stack ?? null,
    detailsText(error),
    error ? 0 : null,
    result,
    resultOmitted,
    row.seq ?? null,
  );
  move(transaction, Number(row.lane), from, status);
  rollups.add(at, Number(row.lane), status, duration ?? undefined);
  if (!error?.fingerprint) return;
  ledger.countKind(error.fingerprint, status, 1);
  if (status === 'failed') failures.add(error, { seq: Number(row.seq), lane: Number(row.lane), at });
}

/** Sends a task back to wait, until `runAt` if that is to come. */
function toPending(
  transaction: Transaction,
  row: Row,
  runAt: number,
  now: number,
  interrupts: number,
  error: StoredError,
): Row | undefined {
  transaction.database.run(
    `UPDATE task SET status = 0, rev = ?, owner = NULL, cancelling = 0, run_at = ?, ready_at = ?, interrupts = interrupts + ?, max_attempts = max_attempts + ?,
       error_name = ?, error_message = ?, fingerprint = ?, stack = ?, error_details = ? WHERE seq = ?`,
    transaction.ledger.nextRev(),
    runAt,
    runAt > now ? runAt : null,
    interrupts,
    interrupts,
    error.name,
    error.message,
    error.fingerprint || null,
    error.stack,
    detailsText(error),
    row.seq ?? null,
  );
  move(transaction, Number(row.lane), 'running', 'pending');
  if (error.fingerprint) transaction.ledger.countKind(error.fingerprint, 'pending', 1);
  return wantedRow(transaction, Number(row.seq), 'pending');
}

/** Stores an attempt that has ended: of a row with `seq`, `attempt` and `started_at`. */
export function recordAttempt({ database }: Transaction, row: Row, status: TaskStatus, at: number, error: StoredError | undefined): void {
  database.run(
    `INSERT OR REPLACE INTO attempt (task, number, status, started_at, ended_at, error_name, error_message, stack, error_details)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    row.seq ?? null,
    row.attempt ?? null,
    stateCode[status],
    row.started_at ?? null,
    at,
    error?.name ?? null,
    error?.message ?? null,
    error?.stack ?? null,
    detailsText(error),
  );
}

/** Ends or hands back the running tasks of a process that is gone. */
export function recover(transaction: Transaction, { owner, at }: Of<'recover'>): Row[] {
  const rows = transaction.database.all(
    'SELECT seq, lane, attempt, started_at, cancelling, interrupts, max_interrupts, deadline_at FROM task WHERE owner = ? AND status = 1 ORDER BY seq',
    owner,
  );
  for (const row of rows) recoverOne(transaction, row, at);
  introduce(transaction, { worker: { owner } });
  return rows.map((row) => summaryRow(transaction, Number(row.seq)));
}

/**
 * Makes running tasks of an owner pending again of which it does not know that it claimed them. Their handlers were not
 * called, so the attempts do not count.
 */
export function handBack(transaction: Transaction, { owner, held, at }: Of<'handBack'>): undefined {
  const { database, ledger } = transaction;
  const known = new Set(held.map(([seq, attempt]) => `${seq} ${attempt}`));
  const rows = database.all('SELECT seq, lane, attempt, started_at, cancelling FROM task WHERE owner = ? AND status = 1', owner);
  for (const row of rows) {
    if (known.has(`${row.seq} ${row.attempt}`)) continue;
    if (row.cancelling === 1) endAttempt(transaction, row, 'cancelled', at, undefined, {});
    else {
      database.run(
        `UPDATE task SET status = 0, rev = ?, owner = NULL, attempt = attempt - 1, started_at = CASE attempt WHEN 1 THEN NULL ELSE started_at END
         WHERE seq = ?`,
        ledger.nextRev(),
        row.seq ?? null,
      );
      move(transaction, Number(row.lane), 'running', 'pending');
    }
  }
  return undefined;
}

function recoverOne(transaction: Transaction, row: Row, at: number): void {
  if (row.cancelling === 1) {
    endAttempt(transaction, row, 'cancelled', at, undefined, {});
    return;
  }
  const mayRun = Number(row.interrupts) < Number(row.max_interrupts) && (row.deadline_at === null || Number(row.deadline_at) > at);
  if (!mayRun) {
    endAttempt(transaction, row, 'interrupted', at, interrupted, {});
    return;
  }
  recordAttempt(transaction, row, 'interrupted', at, interrupted);
  toPending(transaction, row, at, at, 1, interrupted);
}

/** Stores log lines and numbers them; what belongs to a task that was deleted is dropped. */
export function writeLog({ database }: Transaction, lines: readonly LogEntry[]): undefined {
  for (const { task, at, attempt, level, late, message, fields } of lines) {
    const row = database.get('UPDATE task SET log_lines = log_lines + 1 WHERE seq = ? RETURNING log_lines', task);
    if (!row) continue;
    database.run(
      'INSERT INTO log (task, n, at, attempt, level, late, message, fields) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
      task,
      row.log_lines ?? null,
      at,
      attempt,
      level,
      late ? 1 : 0,
      message,
      fields,
    );
  }
  return undefined;
}

/** Stores how far attempts are, if they are still this owner's. */
export function writeProgress({ database, ledger }: Transaction, owner: string, entries: readonly ProgressEntry[]): undefined {
  for (const { task, attempt, value, text } of entries) {
    database.run(
      'UPDATE task SET progress = ?, progress_text = ?, rev = ? WHERE seq = ? AND owner = ? AND attempt = ? AND status = 1',
      value,
      text,
      ledger.nextRev(),
      task,
      owner,
      attempt,
    );
  }
  return undefined;
}
