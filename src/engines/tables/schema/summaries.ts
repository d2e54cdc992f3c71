import { isEnded } from '../../../tasks/states.js';
import { timeOfTaskId } from '../../../tasks/task-id.js';
import type { TaskSummary } from '../../../tasks/types.js';
import { packing } from './packing.js';
import { idOf, optionalTime, tagsOf, time } from './rows.js';
import { stateOf } from './states.js';

interface Summary {
  rowid: number;
  /** Upper-case hexadecimal digits. */
  id: string;
  name: string;
  queue: string;
  status: number;
  priority: number;
  tags: string | null;
  source: number;
  runAt: number;
  startedAt: number | null;
  endedAt: number | null;
  duration: number | null;
  attempt: number;
  maxAttempts: number;
  cancelling: number;
  progress: number | null;
  progressText: string | null;
  errorName: string | null;
  errorMessage: string | null;
  fingerprint: string | null;
}

const summary = packing<Summary>({
  rowid: 'task.rowid',
  id: 'hex(task.id)',
  name: 'partition.name',
  queue: 'partition.queue',
  status: 'status',
  priority: 'priority',
  tags: 'tags',
  source: 'source',
  runAt: 'run_at',
  startedAt: 'started_at',
  endedAt: 'ended_at',
  duration: 'duration',
  attempt: 'attempt',
  maxAttempts: 'max_attempts',
  cancelling: 'cancelling',
  progress: 'progress',
  progressText: 'progress_text',
  errorName: 'error_name',
  errorMessage: 'error_message',
  fingerprint: 'fingerprint',
});

/** A row of {@link summaryColumns}. */
export interface SummaryRow {
  rowid: number;
  status: number;
  /** The packed summary. */
  summary: string;
}

/** The columns of a summary. */
export const summaryColumns = `rowid, status, (SELECT ${summary.sql} FROM partition
  WHERE partition.id = task.partition) AS summary`;

/** Selects the summaries of the tasks whose row ids are in a JSON list, as one JSON text. */
export const summariesOfRowids = `
  SELECT json_group_array(${summary.sql})
  FROM task CROSS JOIN partition ON partition.id = task.partition
  WHERE rowid IN (SELECT value FROM json_each(?))`;

/** Converts a row of {@link summaryColumns} to the summary that lists and events show. */
export function toSummary(row: SummaryRow): TaskSummary {
  return summaryOf(summary.unpack(JSON.parse(row.summary)));
}

/** Returns the summaries that {@link summariesOfRowids} selected, by row id. */
export function toSummaries(text: string): Map<number, TaskSummary> {
  return new Map(summary.parseList(text).map((each) => [each.rowid, summaryOf(each)]));
}

function summaryOf(row: Readonly<Summary>): TaskSummary {
  const { name, queue, priority, runAt, startedAt, endedAt, duration, attempt, maxAttempts } = row;
  const { progress, progressText, errorName, errorMessage, fingerprint } = row;
  const id = idOf(row.id);
  const status = stateOf(row.status);
  const ended = isEnded(status);
  return {
    id,
    name,
    status,
    queue,
    priority,
    tags: tagsOf(row.tags),
    source: row.source === 1 ? 'scheduled' : 'manual',
    createdAt: time(timeOfTaskId(id)),
    runAt: time(runAt),
    startedAt: optionalTime(startedAt),
    endedAt: ended ? optionalTime(endedAt) : null,
    duration: ended && duration !== null ? duration / 1000 : null,
    attempt,
    maxAttempts,
    progress,
    ...(progressText !== null && { progressText }),
    error: errorName === null ? null : { name: errorName, message: errorMessage ?? '' },
    fingerprint,
    ...(status === 'running' && row.cancelling === 1 && { engineState: 'cancelling' }),
  };
}
