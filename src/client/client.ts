import type { z } from 'zod';
import type { Metrics, TaskDetail, TaskSummary } from '../tasks/types.js';
import type * as Answers from '../web/answers.js';
import type * as Schemas from '../web/schemas.js';
import { type Change, type ChangeOptions, followChanges } from './changes.js';
import { readEvents, type ServerEvent } from './events.js';
import { ProblemError, problemOf } from './problem.js';

export { canCancel, canRetry } from '../tasks/states.js';
export type { Counts, FailureKind, LogLevel, LogLine, Metrics, Pulse, TaskStatus, TaskSummary, Worker } from '../tasks/types.js';
export type { DashboardFacts } from '../web/dashboard-routes.js';
export type { Overview } from '../web/overview.js';
export type { Change, ChangeOptions } from './changes.js';
export { ProblemError } from './problem.js';

/** Options of {@link createClient}. */
export interface ClientOptions {
  /** The token of a sign-in that sent JSON, or what gives the present one. A page needs none: it has its cookie. */
  token?: string | (() => string | Promise<string>) | undefined;
  /** Used instead of the global `fetch`. */
  fetch?: typeof fetch | undefined;
}

/** What a schema takes. Lists may be read-only ones: nothing is written to them. */
type Input<S extends z.ZodType> = ReadOnly<z.input<S>>;
type ReadOnly<T> = T extends readonly (infer U)[] ? readonly U[] : T extends object ? { readonly [K in keyof T]: ReadOnly<T[K]> } : T;

/** Parameters of a list, and of whatever else is asked for by query. */
export type ListQuery = Input<typeof Schemas.listQuery>;
export type DetailQuery = Input<typeof Schemas.detailQuery>;
export type LogsQuery = Input<typeof Schemas.logQuery>;
export type MetricsQuery = Input<typeof Schemas.metricsQuery>;
export type FailuresQuery = Input<typeof Schemas.failureQuery>;
export type FiguresQuery = Input<typeof Schemas.figuresQuery>;
export type AuditQuery = Input<typeof Schemas.auditQuery>;
/** Bodies of actions. */
export type Reason = Input<typeof Schemas.reasonBody>;
export type RerunBody = Input<typeof Schemas.rerunBody>;
export type BulkBody = Input<typeof Schemas.bulkBody>;
export type BulkRetryBody = Input<typeof Schemas.bulkRetryBody>;
export type RetryFailedBody = Input<typeof Schemas.retryFailedBody>;
/** Answers. */
export type BulkAnswer = z.output<typeof Answers.bulkAnswer>;
export type LogPage = z.output<typeof Answers.logPage>;
export type FailureList = z.output<typeof Answers.failureList>;
export type FunctionList = z.output<typeof Answers.functionList>;
export type QueueList = z.output<typeof Answers.queueList>;
export type ScheduleList = z.output<typeof Answers.scheduleList>;
export type WorkerList = z.output<typeof Answers.workerList>;
export type AuditPage = z.output<typeof Answers.auditPage>;

/** Whose sessions. */
export interface SessionsQuery {
  username?: string | undefined;
  strategy?: string | undefined;
}

/** A session that has not ended. */
export interface OpenSession {
  id: string;
  username: string;
  strategy: string;
  startedAt: string;
  lastUsedAt: string;
  expiresAt: string;
  ip?: string | undefined;
  userAgent?: string | undefined;
  /** Whether it is the one that asks. */
  current: boolean;
}

/** One page of a list. */
export interface TaskList {
  items: readonly TaskSummary[];
  nextCursor: string | null;
  total: number;
  totalRelation: 'eq' | 'gte';
}

/** A task's detail as the API sends it: `args` only where the server shows them. */
export type ShownTask = Omit<TaskDetail, 'args'> & Partial<Pick<TaskDetail, 'args'>>;

/** The HTTP contract of the tasks, typed. Every method rejects with a {@link ProblemError}. */
export interface TaskClient {
  list(query?: ListQuery, signal?: AbortSignal): Promise<TaskList>;
  /** All tasks of a list, asked for page by page as they are taken. */
  each(query?: ListQuery, signal?: AbortSignal): AsyncGenerator<TaskSummary>;
  get(id: string, query?: DetailQuery, signal?: AbortSignal): Promise<ShownTask>;
  logs(id: string, query?: LogsQuery, signal?: AbortSignal): Promise<LogPage>;
  metrics(query?: MetricsQuery, signal?: AbortSignal): Promise<Metrics>;
  failures(query?: FailuresQuery, signal?: AbortSignal): Promise<FailureList>;
  functions(query?: FiguresQuery, signal?: AbortSignal): Promise<FunctionList>;
  queues(query?: FiguresQuery, signal?: AbortSignal): Promise<QueueList>;
  schedules(signal?: AbortSignal): Promise<ScheduleList>;
  workers(signal?: AbortSignal): Promise<WorkerList>;
  audit(query?: AuditQuery, signal?: AbortSignal): Promise<AuditPage>;
  retry(id: string, body?: Reason): Promise<TaskSummary>;
  cancel(id: string, body?: Reason): Promise<TaskSummary>;
  /** Resolves to the new task. */
  /** Starts a task that waits for its time now. */
  run(id: string, body?: Reason): Promise<TaskSummary>;
  rerun(id: string, body?: RerunBody): Promise<TaskSummary>;
  bulk(body: BulkBody): Promise<BulkAnswer>;
  bulkRetry(body: BulkRetryBody): Promise<BulkAnswer>;
  retryFailed(body: RetryFailedBody): Promise<BulkAnswer>;
  /** Deletes tasks that ended before a time, some 10,000 a call; with `dryRun` it counts them. */
  deleteHistory(before: string, options?: { dryRun?: boolean | undefined }): Promise<{ deleted: number; more: boolean }>;
  pauseQueue(name: string, body?: Reason): Promise<{ queue: string; paused: boolean }>;
  resumeQueue(name: string, body?: Reason): Promise<{ queue: string; paused: boolean }>;
  pauseSchedule(name: string, body?: Reason): Promise<{ schedule: string; paused: boolean }>;
  resumeSchedule(name: string, body?: Reason): Promise<{ schedule: string; paused: boolean }>;
  /** Resolves to the task it made. */
  runSchedule(name: string, body?: Reason): Promise<TaskSummary>;
  /** The open sessions of whoever asks, or for an administrator those of another user. */
  sessions(query?: SessionsQuery): Promise<{ items: readonly OpenSession[] }>;
  endSession(id: string, query?: SessionsQuery): Promise<void>;
  /** Ends all of them, the one that asks too. */
  endSessions(query?: SessionsQuery): Promise<void>;
  /** The address of a path below the tasks, for a link: `url('/export', { format: 'csv' })`. */
  url(path: string, query?: object): string;
  /**
   * Changes as they happen. Whenever the stream is lost it is opened again and goes on where it was; `hello` says with
   * `resumed: false` that something may have been missed.
   *
   * @throws ProblemError when trying again would not help, such as UNAUTHENTICATED when the session has ended.
   */
  changes(options?: ChangeOptions): AsyncGenerator<Change>;
}

/**
 * A client of the tasks at an address: `https://example.com/tasks`, or in a page of that host `/tasks`.
 *
 * @example
 * ```ts
 * const tasks = createClient('https://example.com/tasks', { token });
 * for await (const task of tasks.each({ status: ['failed'], from: '-1d' })) console.log(task.name, task.error?.message);
 * for await (const change of tasks.changes()) if (change.type === 'tasks') console.log(change.upserts);
 * ```
 */
export function createClient(base: string, { token, fetch: send = fetch }: ClientOptions = {}): TaskClient {
  const ask = async (path: string, init: RequestInit = {}): Promise<Response> => {
    const bearer = typeof token === 'function' ? await token() : token;
    const headers = { ...init.headers, ...(bearer !== undefined && { Authorization: `Bearer ${bearer}` }) };
    const response = await send(base + path, { ...init, headers }).catch((cause: unknown) => {
      if (init.signal?.aborted) throw cause;
      throw new ProblemError(0, 'NETWORK', 'The server cannot be reached.', { cause });
    });
    if (!response.ok) throw await problemOf(response);
    return response;
  };
  const json = async <T>(path: string, init?: RequestInit): Promise<T> => (await (await ask(path, init)).json()) as T;
  const read = <T>(path: string, query: object = {}, signal?: AbortSignal): Promise<T> =>
    json<T>(path + search(query), signal && { signal });
  const act = <T>(path: string, body?: object): Promise<T> =>
    json<T>(path, { method: 'POST', ...(body && { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } }) });
  const at = encodeURIComponent;
  // At the root of a host the list is at '/', which an empty path would not be.
  const list = (query?: ListQuery, signal?: AbortSignal): Promise<TaskList> => read(base === '' ? '/' : '', query, signal);

  async function* stream(
    { topics, follow: task }: ChangeOptions,
    lastEventId: string | undefined,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<ServerEvent> {
    const headers: HeadersInit = { Accept: 'text/event-stream', ...(lastEventId !== undefined && { 'Last-Event-ID': lastEventId }) };
    const path = `/dashboard/stream${search({ topics: topics?.join(), task })}`;
    const { body } = await ask(path, { headers, ...(signal && { signal }) });
    try {
      if (body) yield* readEvents(body);
    } catch (cause) {
      throw new ProblemError(0, 'NETWORK', 'The stream was cut.', { cause });
    }
  }

  return {
    list,
    async *each(query, signal) {
      let cursor: string | null | undefined;
      do {
        const page: TaskList = await list({ limit: 500, ...query, ...(cursor && { cursor }) }, signal);
        yield* page.items;
        cursor = page.nextCursor;
      } while (cursor !== null);
    },
    get: (id, query, signal) => read(`/${at(id)}`, query, signal),
    logs: (id, query, signal) => read(`/${at(id)}/logs`, query, signal),
    metrics: (query, signal) => read('/metrics', query, signal),
    failures: (query, signal) => read('/failures', query, signal),
    functions: (query, signal) => read('/functions', query, signal),
    queues: (query, signal) => read('/queues', query, signal),
    schedules: (signal) => read('/schedules', {}, signal),
    workers: (signal) => read('/workers', {}, signal),
    audit: (query, signal) => read('/audit', query, signal),
    retry: (id, body) => act(`/${at(id)}/retry`, body),
    cancel: (id, body) => act(`/${at(id)}/cancel`, body),
    run: (id, body) => act(`/${at(id)}/run`, body),
    rerun: (id, body) => act(`/${at(id)}/rerun`, body),
    bulk: (body) => act('/bulk', body),
    bulkRetry: (body) => act('/bulk-retry', body),
    retryFailed: (body) => act('/retry-failed', body),
    deleteHistory: (before, { dryRun } = {}) => json(`/history${search({ before, dryRun })}`, { method: 'DELETE' }),
    sessions: (query) => read('/auth/sessions', query),
    endSession: async (id, query) => void (await ask(`/auth/sessions/${at(id)}${search(query ?? {})}`, { method: 'DELETE' })),
    endSessions: async (query) => void (await ask(`/auth/sessions${search(query ?? {})}`, { method: 'DELETE' })),
    url: (path, query = {}) => base + path + search(query),
    pauseQueue: (name, body) => act(`/queues/${at(name)}/pause`, body),
    resumeQueue: (name, body) => act(`/queues/${at(name)}/resume`, body),
    pauseSchedule: (name, body) => act(`/schedules/${at(name)}/pause`, body),
    resumeSchedule: (name, body) => act(`/schedules/${at(name)}/resume`, body),
    runSchedule: (name, body) => act(`/schedules/${at(name)}/run`, body),
    changes: (options = {}) => followChanges((lastEventId) => stream(options, lastEventId, options.signal), options),
  };
}

/** The query of an address: what is undefined is left out, a list is repeated. */
function search(query: object): string {
  const pairs = Object.entries(query).flatMap(([name, value]: [string, unknown]) =>
    (Array.isArray(value) ? value : [value]).flatMap((each) => (each === undefined ? [] : [[name, String(each)]])),
  );
  return pairs.length === 0 ? '' : `?${new URLSearchParams(pairs)}`;
}
