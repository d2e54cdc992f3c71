import type { z } from 'zod';
import type {
  DetailQuery,
  FailuresQuery,
  FindQuery,
  LinesQuery,
  RangeQuery,
  Targets,
  TaskList,
} from '../tasks/source.js';
import type { Metrics, TaskDetail, TaskSummary, WorkerTotals } from '../tasks/types.js';
import type * as Answers from '../web/answers.js';
import type * as Schemas from '../web/schemas.js';
import { type Change, type ChangeOptions, followChanges } from './changes.js';
import {
  checkChanges,
  checkClient,
  checkSignal,
  checkTime,
  membersOf,
  onlyKeys,
  refuseUndefined,
  requiredBody,
  segment,
  textOf,
} from './check.js';
import { readEvents, type ServerEvent } from './events.js';
import { ProblemError, problemOf } from './problem.js';

export type {
  CommandFilter,
  DetailQuery,
  FailuresQuery,
  TaskConditions,
  TaskList,
} from '../tasks/source.js';
export { canCancel, canRetry } from '../tasks/states.js';
export type {
  Counts,
  FailureGroup,
  LogLevel,
  LogLine,
  Metrics,
  ProcessInfo,
  StatsSnapshot,
  TaskStatus,
  TaskSummary,
  WorkerTotals,
} from '../tasks/types.js';
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

/** What a body takes: lists may be read-only, and only a reason may be `undefined`. */
type Body<S extends z.ZodType> = {
  readonly [K in keyof z.input<S>]: K extends 'reason'
    ? z.input<S>[K]
    : ReadOnly<Exclude<z.input<S>[K], undefined>>;
};
type ReadOnly<T> = T extends readonly (infer U)[] ? readonly U[] : T;

/** Parameters of a list, with the names of `TaskManager.find`. */
export type ListQuery = Omit<FindQuery, 'counted'>;
/** Parameters of a task's log. */
export type LogsQuery = LinesQuery;
/** Parameters of the metrics. */
export type MetricsQuery = Omit<RangeQuery, 'series'>;
/** Parameters of the functions and the queues. */
export type FiguresQuery = Pick<RangeQuery, 'from' | 'to'>;
/** Parameters of the audit. */
export type AuditQuery = z.input<typeof Schemas.auditQuery>;
/** Body of an action. */
export type Reason = Body<typeof Schemas.reasonBody>;
/** Body of `rerun`. */
export type RerunBody = Body<typeof Schemas.rerunBody>;
/** Body of `bulk`: exactly one of `ids` and `filter`; `filter: 'all'` means every task. */
export type BulkBody = Omit<Body<typeof Schemas.bulkBody>, 'ids' | 'filter'> & Targets;
/** Body of `bulkRetry`. */
export type BulkRetryBody = Body<typeof Schemas.bulkRetryBody>;
/** Body of `retryFailed`. */
export type RetryFailedBody = Body<typeof Schemas.retryFailedBody>;
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

/** Whose sessions, and which page of them. */
export interface SessionListQuery extends SessionsQuery {
  /** From 1 to 500; 100 by default. */
  limit?: number | undefined;
  /** The `nextCursor` of the page before. */
  cursor?: string | undefined;
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

/** A task's detail as the API sends it: `args` only where the server shows them. */
export type ShownTask = Omit<TaskDetail, 'args'> & Partial<Pick<TaskDetail, 'args'>>;

/**
 * The HTTP contract of the tasks, typed. Every method rejects with a {@link ProblemError} if the server refuses, and with a
 * TypeError of code INVALID_INPUT for an argument that the server could not check: an empty id, a command without a body, or a
 * value of a command that is `undefined` and so would be left out.
 */
export interface TaskClient {
  list(query?: ListQuery, signal?: AbortSignal): Promise<TaskList>;
  /** All tasks of a list, asked for page by page as they are taken. */
  each(query?: ListQuery, signal?: AbortSignal): AsyncGenerator<TaskSummary>;
  get(id: string, query?: DetailQuery, signal?: AbortSignal): Promise<ShownTask>;
  logs(id: string, query?: LogsQuery, signal?: AbortSignal): Promise<LogPage>;
  metrics(query?: MetricsQuery, signal?: AbortSignal): Promise<Metrics & { workers: WorkerTotals }>;
  failures(query?: FailuresQuery, signal?: AbortSignal): Promise<FailureList>;
  functions(query?: FiguresQuery, signal?: AbortSignal): Promise<FunctionList>;
  queues(query?: FiguresQuery, signal?: AbortSignal): Promise<QueueList>;
  schedules(signal?: AbortSignal): Promise<ScheduleList>;
  workers(signal?: AbortSignal): Promise<WorkerList>;
  audit(query?: AuditQuery, signal?: AbortSignal): Promise<AuditPage>;
  retry(id: string, body?: Reason): Promise<TaskSummary>;
  cancel(id: string, body?: Reason): Promise<TaskSummary>;
  /** Starts a task that waits for its time now. */
  run(id: string, body?: Reason): Promise<TaskSummary>;
  /** Resolves to the new task. */
  rerun(id: string, body?: RerunBody): Promise<TaskSummary>;
  bulk(body: BulkBody): Promise<BulkAnswer>;
  bulkRetry(body: BulkRetryBody): Promise<BulkAnswer>;
  retryFailed(body: RetryFailedBody): Promise<BulkAnswer>;
  /** Deletes tasks that ended before a time, some 10,000 a call; with `dryRun` it counts them. */
  deleteHistory(
    before: string | Date,
    options?: { dryRun?: boolean },
  ): Promise<{ deleted: number; more: boolean }>;
  pauseQueue(name: string, body?: Reason): Promise<{ queue: string; paused: boolean }>;
  resumeQueue(name: string, body?: Reason): Promise<{ queue: string; paused: boolean }>;
  pauseSchedule(name: string, body?: Reason): Promise<{ schedule: string; paused: boolean }>;
  resumeSchedule(name: string, body?: Reason): Promise<{ schedule: string; paused: boolean }>;
  /** Resolves to the task it made. */
  runSchedule(name: string, body?: Reason): Promise<TaskSummary>;
  /** Removes a schedule that no running process defines any more; its tasks stay. */
  removeSchedule(name: string, body?: Reason): Promise<{ schedule: string; removed: true }>;
  /** One's own open sessions, the last used first, or for an administrator those of another user. */
  sessions(
    query?: SessionListQuery,
  ): Promise<{ items: readonly OpenSession[]; nextCursor: string | null }>;
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
export function createClient(base: string, options: ClientOptions = {}): TaskClient {
  onlyKeys('options', options, ['token', 'fetch']);
  checkClient(base, options);
  const { token, fetch: send = fetch } = options;
  const ask = async (path: string, init: RequestInit = {}): Promise<Response> => {
    const bearer = typeof token === 'function' ? await token() : token;
    const headers = {
      ...init.headers,
      ...(bearer !== undefined && { Authorization: `Bearer ${bearer}` }),
    };
    const response = await send(base + path, { ...init, headers }).catch((cause: unknown) => {
      if (init.signal?.aborted) throw cause;
      throw new ProblemError(0, 'NETWORK', 'The server cannot be reached.', {
        cause,
        maybeDone: init.method !== undefined,
      });
    });
    if (!response.ok) throw await problemOf(response);
    return response;
  };
  const json = async <T>(path: string, init?: RequestInit): Promise<T> =>
    (await (await ask(path, init)).json()) as T;
  const read = async <T>(path: string, query: object = {}, signal?: AbortSignal): Promise<T> => {
    checkSignal(signal);
    return json<T>(path + search(query), signal && { signal });
  };
  const act = <T>(path: string, body?: object): Promise<T> => {
    refuseUndefined('body', body);
    return json<T>(path, {
      method: 'POST',
      ...(body && { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } }),
    });
  };
  const onTask = (id: string, action: string, body?: object): Promise<TaskSummary> =>
    act(`/${segment('id', id)}/${action}`, body);
  const on = <T>(
    kind: 'queues' | 'schedules',
    name: string,
    action: string,
    body?: object,
  ): Promise<T> => act(`/${kind}/${segment('name', name)}/${action}`, body);
  // At the root of a host the list is at '/', which an empty path would not be.
  const list = async (query?: ListQuery, signal?: AbortSignal): Promise<TaskList> =>
    read(base === '' ? '/' : '', query, signal);

  async function* stream(
    { topics, follow: task }: ChangeOptions,
    lastEventId: string | undefined,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<ServerEvent> {
    const headers: HeadersInit = {
      Accept: 'text/event-stream',
      ...(lastEventId !== undefined && { 'Last-Event-ID': lastEventId }),
    };
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
        const page: TaskList = await list(
          { limit: 500, ...query, ...(cursor && { cursor }) },
          signal,
        );
        yield* page.items;
        cursor = page.nextCursor;
      } while (cursor !== null);
    },
    get: async (id, query, signal) => read(`/${segment('id', id)}`, query, signal),
    logs: async (id, query, signal) => read(`/${segment('id', id)}/logs`, query, signal),
    metrics: async (query, signal) => read('/metrics', query, signal),
    failures: async (query, signal) => read('/failures', query, signal),
    functions: async (query, signal) => read('/functions', query, signal),
    queues: async (query, signal) => read('/queues', query, signal),
    schedules: async (signal) => read('/schedules', {}, signal),
    workers: async (signal) => read('/workers', {}, signal),
    audit: async (query, signal) => read('/audit', query, signal),
    retry: async (id, body) => onTask(id, 'retry', body),
    cancel: async (id, body) => onTask(id, 'cancel', body),
    run: async (id, body) => onTask(id, 'run', body),
    rerun: async (id, body) => onTask(id, 'rerun', body),
    bulk: async (body) => act('/bulk', requiredBody(body, "{ action: 'retry', ids: [id] }")),
    bulkRetry: async (body) => act('/bulk-retry', requiredBody(body, '{ ids: [id] }')),
    retryFailed: async (body) => act('/retry-failed', requiredBody(body, "{ since: '-1h' }")),
    async deleteHistory(before, options = {}) {
      checkTime('before', before);
      onlyKeys('options', options, ['dryRun']);
      refuseUndefined('options', options);
      return json(`/history${search({ before, ...options })}`, { method: 'DELETE' });
    },
    sessions: async (query) => read('/auth/sessions', query),
    async endSession(id, query) {
      refuseUndefined('query', query);
      await ask(`/auth/sessions/${segment('id', id)}${search(query ?? {})}`, { method: 'DELETE' });
    },
    async endSessions(query) {
      refuseUndefined('query', query);
      await ask(`/auth/sessions${search(query ?? {})}`, { method: 'DELETE' });
    },
    url: (path, query = {}) => base + path + search(query),
    pauseQueue: async (name, body) => on('queues', name, 'pause', body),
    resumeQueue: async (name, body) => on('queues', name, 'resume', body),
    pauseSchedule: async (name, body) => on('schedules', name, 'pause', body),
    resumeSchedule: async (name, body) => on('schedules', name, 'resume', body),
    runSchedule: async (name, body) => on('schedules', name, 'run', body),
    removeSchedule: async (name, body) => on('schedules', name, 'remove', body),
    changes(options = {}) {
      checkChanges(options);
      return followChanges((lastEventId) => stream(options, lastEventId, options.signal), options);
    },
  };
}

/** The query of an address: `undefined` is left out, a list is repeated, and a Date becomes its ISO 8601 text. */
function search(query: object): string {
  const pairs = membersOf('query', query).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).flatMap((each: unknown) =>
      each === undefined ? [] : [[name, textOf(`query.${name}`, each)]],
    ),
  );
  return pairs.length === 0 ? '' : `?${new URLSearchParams(pairs)}`;
}
