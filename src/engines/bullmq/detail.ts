import type { JobJson, Queue } from 'bullmq';
import type { LogQuery } from '../../tasks/engine.js';
import type { Attempt, LogLine, TaskDetail } from '../../tasks/types.js';
import { readFlow } from './flow.js';
import { keyOf } from './job-ids.js';
import { stacksOf, storedError } from './jobs.js';
import type { JobMirror } from './mirror.js';

/** Lines of a log that are searched for a text at most. */
const mostLines = 10_000;

interface Parts {
  queue: Queue;
  mirror: JobMirror;
  queues: ReadonlyMap<string, Queue>;
}

/** All that is known of a job: of one that BullMQ has removed, what is kept here. */
export async function readDetail({ queue, mirror, queues }: Parts, jobId: string, logLines: number): Promise<TaskDetail | undefined> {
  const key = keyOf(queue.name, jobId);
  const [kept, data] = [mirror.get(key), await queue.getBackend().getJobData(jobId)];
  if (!kept) return undefined;
  if (!data) return { ...kept, resultOmitted: 'BullMQ has removed the job' };
  const [logs, flow] = await Promise.all([
    logLines === 0 ? [] : readLog(queue, jobId, { before: Number.MAX_SAFE_INTEGER, limit: logLines }),
    readFlow({ mirror, queues }, key),
  ]);
  const stacks = stacksOf(data.stacktrace);
  return {
    ...kept,
    args: [parsed(data.data)],
    attempts: attemptsOf(data, kept, stacks),
    logs,
    result: data.returnvalue === undefined ? null : parsed(data.returnvalue),
    stack: kept.error ? (stacks.at(-1) ?? null) : null,
    ...(flow && { flow }),
  };
}

/** Data that BullMQ wrote is JSON; what another client wrote is shown as it is. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** BullMQ keeps the stacks of attempts and the time of the last one alone: what was seen of the others here is shown. */
function attemptsOf({ processedOn, finishedOn, failedReason }: JobJson, kept: TaskDetail, stacks: readonly string[]): Attempt[] {
  const seen = kept.attempts.filter(({ number }) => number < kept.attempt);
  if (processedOn === undefined || kept.attempt === 0) return [...seen];
  const status = kept.status === 'pending' ? 'failed' : (kept.status as Attempt['status']);
  const last = kept.attempts.find(({ number }) => number === kept.attempt);
  const error = status === 'failed' && failedReason ? storedError(kept.name, failedReason, stacks.at(-1) ?? null) : null;
  return [
    ...seen,
    {
      number: kept.attempt,
      status,
      startedAt: new Date(processedOn).toISOString(),
      endedAt: finishedOn === undefined ? (last?.endedAt ?? null) : new Date(finishedOn).toISOString(),
      error: error && { name: error.name, message: error.message, stack: error.stack },
    },
  ];
}

/** The lines of a job's log: BullMQ keeps their text alone. */
export async function readLog(queue: Queue, jobId: string, query: LogQuery): Promise<LogLine[]> {
  const { after = 0, before, limit = mostLines, text, level } = query;
  // All of them are of the level of what is merely said.
  if (level === 'warn' || level === 'error') return [];
  const { count } = await queue.getJobLogs(jobId, 0, 0);
  const end = before === undefined ? count : Math.min(count, before - 1);
  const start = before === undefined || text !== undefined ? after : Math.max(after, end - limit);
  const most = text === undefined ? limit : mostLines;
  const from = before === undefined ? start : Math.max(start, end - most);
  if (from >= end) return [];
  const { logs } = await queue.getJobLogs(jobId, from, Math.min(end, from + most) - 1);
  const lines = logs.map(
    (message, index): LogLine => ({ n: from + index + 1, at: null, attempt: 1, level: 'info', message, fields: null }),
  );
  const wanted = text === undefined ? lines : lines.filter(({ message }) => message.toLowerCase().includes(text.toLowerCase()));
  return before === undefined ? wanted.slice(0, limit) : wanted.slice(-limit);
}
