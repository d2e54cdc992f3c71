import { z } from 'zod';
import { errorCodes } from '../errors.js';
import type { AuditEvent, Page } from '../http/access.js';
import type { FunctionSettings } from '../tasks/function-settings.js';
import type { Pause, QueueState, ScheduleState } from '../tasks/queue-state.js';
import {
  type Attempt,
  type Counts,
  type Durations,
  type FailureGroup,
  type FlowNode,
  type LogLine,
  logLevels,
  type Metrics,
  type ProcessInfo,
  type Stats,
  type TaskDetail,
  type TaskError,
  type TaskSummary,
  taskStatuses,
  type WorkerTotals,
} from '../tasks/types.js';

/*
 * The schemas of the answers, for the OpenAPI document and for the types of handlers and clients.
 * If the engine has a type of its own, the compiler checks the schema against it.
 */

const text = z.string();
const time = z.iso.datetime();
const taskId = text.meta({ examples: ['019a7c5e-6b1f-7c3a-9d2e-4f8b1a2c3d4e'] });
const count = z.int().min(0);
const seconds = z.number().min(0).nullable();
const status = z.enum(taskStatuses);
const tags = z.record(text, text);
const error = z.strictObject({ name: text, message: text });
/** A function, because zod moves a lazy schema that two others share to a place of its own. */
const errorDetails = () => ({
  code: text.exactOptional(),
  cause: z.lazy(() => taskError).exactOptional(),
  errors: z.array(z.lazy(() => taskError)).exactOptional(),
  truncated: z.literal(true).exactOptional(),
});
/** An error with its stack, its cause and its members, which are errors too. */
export const taskError: z.ZodType<TaskError> = error.extend({
  stack: text.nullable(),
  ...errorDetails(),
});

const summaryFields = {
  id: taskId,
  name: text,
  status,
  queue: text,
  priority: z.int(),
  tags,
  source: z.enum(['manual', 'scheduled']),
  createdAt: time,
  runAt: time,
  startedAt: time.nullable(),
  endedAt: time.nullable(),
  duration: seconds,
  attempt: count,
  maxAttempts: count,
  progress: z.number().min(0).max(1).nullable(),
  progressText: text.exactOptional(),
  error: error.nullable(),
  fingerprint: text.nullable(),
  engineState: text.exactOptional(),
};
export const taskSummary = z.strictObject(summaryFields) satisfies z.ZodType<TaskSummary>;

export const logLine = z.strictObject({
  n: z.int().min(1),
  at: time.nullable(),
  attempt: count.nullable(),
  level: z.enum(logLevels),
  message: text,
  fields: z.record(text, z.unknown()).nullable(),
  late: z.literal(true).exactOptional(),
}) satisfies z.ZodType<LogLine>;

const attempt = z.strictObject({
  number: z.int().min(1),
  status: z.enum(['running', 'success', 'failed', 'interrupted', 'cancelled']),
  startedAt: time,
  endedAt: time.nullable(),
  error: taskError.nullable(),
}) satisfies z.ZodType<Attempt>;

export const flowNode: z.ZodType<FlowNode> = z.strictObject({
  id: taskId,
  name: text,
  status: status.nullable(),
  engineState: text.exactOptional(),
  children: z.array(z.lazy(() => flowNode)),
  more: count,
});

export const taskDetail = z.strictObject({
  ...summaryFields,
  error: error.extend(errorDetails()).nullable(),
  args: z.array(z.unknown()).exactOptional(),
  argsOmitted: text.exactOptional(),
  attempts: z.array(attempt),
  logs: z.array(logLine),
  result: z.unknown(),
  resultOmitted: text.exactOptional(),
  stack: text.nullable(),
  rerunOf: taskId.nullable(),
  rerunAs: taskId.nullable(),
  flow: flowNode.exactOptional(),
}) satisfies z.ZodType<Omit<TaskDetail, 'args'>>;

export const taskList = z.strictObject({
  items: z.array(taskSummary),
  nextCursor: text.nullable(),
  total: count,
  totalRelation: z.enum(['eq', 'gte']),
  limited: z.literal(true).exactOptional(),
  searched: count.exactOptional(),
});

export const logPage = z.strictObject({
  items: z.array(logLine),
  nextAfter: z.int().nullable(),
  nextBefore: z.int().nullable(),
});

const counts = z.strictObject({
  pending: count,
  running: count,
  success: count,
  failed: count,
  interrupted: count,
  cancelled: count,
}) satisfies z.ZodType<Counts>;

const durations = z.strictObject({
  avg: seconds,
  min: seconds,
  max: seconds,
  p50: seconds,
  p95: seconds,
  p99: seconds,
}) satisfies z.ZodType<Durations>;

const coverage = { completeSince: time.exactOptional() };
const statsFields = { counts, successRate: z.number().min(0).max(1).nullable(), durations };
const named = z.strictObject({ name: text, ...statsFields }) satisfies z.ZodType<
  Stats & { name: string }
>;

export const metrics = z.strictObject({
  ...statsFields,
  ...coverage,
  functions: z.array(named),
  queues: z.array(named),
  series: z.array(z.strictObject({ at: time, success: count, failed: count, p95: seconds })),
  workers: z.strictObject({ count, slots: count, stuck: count }),
}) satisfies z.ZodType<Metrics & { workers: WorkerTotals }>;

const functionSettings = z.strictObject({
  handled: z.boolean(),
  queue: text,
  priority: z.int(),
  tags,
  retries: count,
  delay: z.number(),
  backoff: z.union([z.number(), z.literal('function')]),
  maxDelay: z.number(),
  jitter: z.number(),
  retryOn: z.literal('function').nullable(),
  timeout: z.number().nullable(),
  deadline: z.number().nullable(),
  concurrency: z.int().nullable(),
  requeueOnInterrupt: z.boolean(),
  maxInterrupts: count,
  cancelGrace: z.number(),
}) satisfies z.ZodType<Omit<FunctionSettings, 'name'>>;

/** `settings` is null for a function that has no definition in this process. */
export const functionList = z.strictObject({
  items: z.array(
    z.strictObject({ name: text, settings: functionSettings.nullable(), ...statsFields }),
  ),
  ...coverage,
});

const pause = z.strictObject({
  by: text,
  at: time,
  reason: text.nullable(),
}) satisfies z.ZodType<Pause>;
const queue = z.strictObject({
  name: text,
  paused: z.boolean(),
  pause: pause.nullable(),
}) satisfies z.ZodType<QueueState>;

/** `oldestReadyAt`: when its oldest task that can run now became ready; null if there is none. */
export const queueList = z.strictObject({
  items: z.array(queue.extend({ oldestReadyAt: time.nullable(), ...statsFields })),
  ...coverage,
});

const scheduleFields = {
  name: text,
  task: text,
  rule: text,
  nextRunAt: time.nullable(),
  lastRunAt: time.nullable(),
  lastTaskId: taskId.nullable(),
  paused: z.boolean(),
  pause: pause.nullable(),
  pausable: z.literal(false).exactOptional(),
  skipped: count,
  undefinedSince: time.nullable(),
};
const schedule = z.strictObject(scheduleFields) satisfies z.ZodType<ScheduleState>;

/** `nextRuns`: the next five runs. A process without the definition knows only the first. */
export const scheduleList = z.strictObject({
  items: z.array(schedule.extend({ nextRuns: z.array(time) })),
});

const worker = z.strictObject({
  id: text,
  host: text,
  pid: z.int().nullable(),
  version: text.nullable(),
  slots: count.nullable(),
  running: count.nullable(),
  stuck: count.nullable(),
  stuckAttempts: z
    .array(z.strictObject({ id: taskId, name: text, attempt: count, since: time }))
    .readonly(),
  queue: text.exactOptional(),
  startedAt: time,
  lastSign: z.number().min(0),
}) satisfies z.ZodType<ProcessInfo>;

export const workerList = z.strictObject({ items: z.array(worker) });

const failureGroup = z.strictObject({
  fingerprint: text,
  name: text,
  error,
  count,
  failed: count,
  first: time,
  last: time,
  lastTaskId: taskId,
  trend: z.array(count),
}) satisfies z.ZodType<FailureGroup>;

export const failureList = z.strictObject({
  items: z.array(failureGroup),
  nextCursor: text.nullable(),
  ...coverage,
});

/** The result of a command for many tasks, with a reason for each skipped task. */
export const bulkAnswer = z.strictObject({
  dispatched: count,
  skipped: count,
  results: z.array(
    z.union([
      z.strictObject({ id: taskId, ok: z.literal(true) }),
      z.strictObject({
        id: taskId,
        ok: z.literal(false),
        code: z.enum(['TASK_NOT_FOUND', 'TASK_STATE_CONFLICT']),
        detail: text,
      }),
    ]),
  ),
  /** Tasks that match. */
  count,
  countRelation: z.enum(['eq', 'gte']),
  /** The filter was applied to the newest tasks only. */
  scope: z.literal('window').exactOptional(),
  /** Matching tasks that are left for further calls. */
  remaining: count,
  dryRun: z.boolean(),
});

export const historyAnswer = z.strictObject({ deleted: count, more: z.boolean() });
export const queueAnswer = z.strictObject({ queue: text, paused: z.boolean() });
export const scheduleRemoved = z.strictObject({ schedule: text, removed: z.literal(true) });
export const scheduleAnswer = z.strictObject({ schedule: text, paused: z.boolean() });

const auditEvent = z.strictObject({
  at: time,
  action: text,
  actor: text.optional(),
  strategy: text.optional(),
  outcome: z.enum(['done', 'refused', 'failed']),
  ip: text.optional(),
  requestId: text.optional(),
  tasks: z.array(text).optional(),
  detail: z.record(text, z.union([text, z.number(), z.boolean()])).optional(),
}) satisfies z.ZodType<AuditEvent>;

export const auditPage = z.strictObject({
  items: z.array(auditEvent),
  nextCursor: text.nullable(),
}) satisfies z.ZodType<Page<AuditEvent>>;

/** A code of an error. */
const errorCode = z.enum(errorCodes);

export const health = z.strictObject({
  status: z.enum(['ok', 'unavailable']),
  /** Why the tasks or the login cannot be used; absent if they can. */
  code: errorCode.optional(),
  detail: text.optional(),
});

/** RFC 9457. */
export const problem = z.strictObject({
  type: text,
  title: text,
  status: z.int(),
  detail: text,
  requestId: text,
  code: errorCode,
  /** The command may have been done, in full or in part. */
  maybeDone: z.literal(true).optional(),
});
