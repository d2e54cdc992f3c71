import type { LogQuery } from '../../../tasks/engine-queries.js';
import { type LogLine, logLevels, type TaskDetail } from '../../../tasks/types.js';
import type { Database } from '../schema/database.js';
import {
  type AttemptRow,
  detailsOf,
  type ErrorColumns,
  idBytes,
  type LogRow,
  optionalId,
  toAttempt,
  toLogLine,
} from '../schema/rows.js';
import { stateOf } from '../schema/states.js';
import { type SummaryRow, summaryColumns, toSummary } from '../schema/summaries.js';

/** A number greater than that of any log line. */
const lastNumber = Number.MAX_SAFE_INTEGER;

/** A task with all that only its own page shows. */
interface DetailRow extends SummaryRow, ErrorColumns {
  attempt: number;
  started_at: number | null;
  ended_at: number | null;
  args: string;
  result: string | null;
  result_omitted: string | null;
  rerun_of: Uint8Array | null;
  rerun_as: Uint8Array | null;
}

/** Reads a task with its attempts and its log. */
export function readDetail(
  database: Database,
  id: string,
  logLines: number | undefined,
): TaskDetail | undefined {
  const row = database.get<DetailRow>(
    `SELECT ${summaryColumns}, attempt, started_at, ended_at, error_name, error_message, stack,
      error_details, args,
       result, result_omitted, rerun_of, rerun_as
     FROM task WHERE id = ?`,
    idBytes(id),
  );
  if (!row) return undefined;
  const summary = toSummary(row);
  return {
    ...summary,
    error: summary.error && { ...summary.error, ...detailsOf(row) },
    args: JSON.parse(row.args),
    attempts: attemptsOf(database, row),
    logs: logLines === 0 ? [] : readLogs(database, id, { before: lastNumber, limit: logLines }),
    result: row.result === null ? null : JSON.parse(row.result),
    ...(row.result_omitted !== null && { resultOmitted: row.result_omitted }),
    stack: row.stack,
    rerunOf: optionalId(row.rerun_of),
    rerunAs: optionalId(row.rerun_as),
  };
}

/**
 * Returns the attempts of a task. An ended attempt has a row of its own, except one that succeeded
 * at the first try: the row of the task describes it.
 */
function attemptsOf(database: Database, task: DetailRow): TaskDetail['attempts'] {
  const ended = database
    .all<AttemptRow>('SELECT * FROM attempt WHERE task = ? ORDER BY number', task.rowid)
    .map(toAttempt);
  const number = task.attempt;
  if (
    number === 0 ||
    ended.some((attempt) => attempt.number === number) ||
    stateOf(task.status) === 'pending'
  )
    return ended;
  return [...ended, toAttempt({ ...task, number })];
}

/**
 * Scans the lines of one task. Their number is limited, so they need no further index that would
 * slow down writing.
 */
export function readLogs(
  database: Database,
  id: string,
  { after = 0, before, attempt, level = 'trace', text, limit = 10_000 }: LogQuery,
): LogLine[] {
  const lines = database
    .all<LogRow>(
      `SELECT n, at, attempt, level, late, message, fields FROM log
       WHERE task = (SELECT rowid FROM task WHERE id = ?1) AND n > ?2 AND n < ?3
         AND (?4 IS NULL OR attempt = ?4) AND level IN (SELECT value FROM json_each(?5))
         AND (?6 IS NULL OR message LIKE ?6 ESCAPE '\\' OR fields LIKE ?6 ESCAPE '\\')
       ORDER BY ${before === undefined ? 'n' : 'n DESC'} LIMIT ?7`,
      idBytes(id),
      after,
      before ?? lastNumber,
      attempt ?? null,
      JSON.stringify(logLevels.slice(logLevels.indexOf(level))),
      text === undefined ? null : `%${text.replace(/[\\%_]/g, '\\$&')}%`,
      limit,
    )
    .map(toLogLine);
  return before === undefined ? lines : lines.reverse();
}
