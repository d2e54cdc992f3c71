import type { JobJson } from 'bullmq';
import { grouped } from '../../../show-value.js';
import type { LogQuery } from '../../../tasks/engine-queries.js';
import type { Attempt, LogLine, TaskDetail, TaskSummary } from '../../../tasks/types.js';
import { partsOf } from '../jobs/job-ids.js';
import { stacksOf } from '../jobs/job-stacks.js';
import type { JobPart, QueueReads } from '../queues/queue-reads.js';
import { type LineSource, readLines } from '../read/log-lines.js';
import { jsonOrText } from '../read/stored-jobs.js';
import type { WindowModel } from '../read/window-model.js';
import { readFlow } from './flow.js';
import { storedError } from './jobs.js';

/** The window, and the attached queues. */
interface Deps {
  model: WindowModel;
  queues: ReadonlyMap<string, QueueReads>;
}

/**
 * Reads the details of a job. If BullMQ has removed the job, these are the details that this
 * process keeps.
 */
export async function readDetail(
  { model, queues }: Deps,
  id: string,
  logLines: number,
): Promise<TaskDetail | undefined> {
  const { queue, jobId } = partsOf(id);
  const reads = queues.get(queue);
  const [task] = reads ? await model.summaries([id]) : [];
  if (!task || !reads) return undefined;
  const kept = model.kept(id) ?? beyondWindow(task);
  const [[job], { data, result, stacktrace }] = await Promise.all([
    reads.jobs([jobId]),
    reads.parts(jobId),
  ]);
  if (!job) return { ...kept, resultOmitted: 'BullMQ has removed the job' };
  const [logs, flow] = await Promise.all([
    logLines === 0
      ? []
      : readLog(reads, jobId, { before: Number.MAX_SAFE_INTEGER, limit: logLines }),
    readFlow({ model, queues }, id),
  ]);
  // If the stack traces are too long to be read, the beginning that lists read is shown.
  const stacks = stacksOf(stacktrace.text ?? job.stacktrace);
  return {
    ...kept,
    args: data.tooLong === undefined ? [parsed(data)] : [],
    ...(data.tooLong !== undefined && { argsOmitted: tooLong('the data', data.tooLong) }),
    attempts: attemptsOf(job, kept, stacks),
    logs,
    result: parsed(result),
    ...(result.tooLong !== undefined && { resultOmitted: tooLong('the result', result.tooLong) }),
    stack: kept.error ? (stacks.at(-1) ?? null) : null,
    ...(flow && { flow }),
  };
}

/** Returns the details of a task that is not in the window. None of its attempts were recorded. */
function beyondWindow(task: TaskSummary): TaskDetail {
  return {
    ...task,
    args: [],
    attempts: [],
    logs: [],
    result: null,
    stack: null,
    rerunOf: null,
    rerunAs: null,
  };
}

function tooLong(what: string, bytes: number): string {
  return `${what} of the job has ${grouped(bytes)} bytes; at most 2 MiB are shown`;
}

function parsed({ text }: JobPart): unknown {
  return text === undefined ? null : jsonOrText(text);
}

/**
 * Returns the attempts of a job. BullMQ stores only the time of the last attempt, so the earlier
 * attempts are those that this process has recorded.
 */
function attemptsOf(
  { processedOn, finishedOn, failedReason }: JobJson,
  kept: TaskDetail,
  stacks: readonly string[],
): Attempt[] {
  const seen = kept.attempts.filter(({ number }) => number < kept.attempt);
  if (processedOn === undefined || kept.attempt === 0) return [...seen];
  const status = kept.status === 'pending' ? 'failed' : (kept.status as Attempt['status']);
  const last = kept.attempts.find(({ number }) => number === kept.attempt);
  const error =
    status === 'failed' && failedReason
      ? storedError(kept.name, failedReason, stacks.at(-1) ?? null)
      : null;
  return [
    ...seen,
    {
      number: kept.attempt,
      status,
      startedAt: new Date(processedOn).toISOString(),
      endedAt:
        finishedOn === undefined ? (last?.endedAt ?? null) : new Date(finishedOn).toISOString(),
      error: error && { name: error.name, message: error.message, stack: error.stack },
    },
  ];
}

/** Reads lines of a job's log. */
export function readLog(reads: QueueReads, jobId: string, query: LogQuery): Promise<LogLine[]> {
  const source: LineSource = {
    count: () => reads.countLines(jobId),
    lines: (start, end) => reads.lines(jobId, start, end, query.before !== undefined),
  };
  return readLines(source, query);
}
