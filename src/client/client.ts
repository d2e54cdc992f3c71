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
import type { AnswerOf, Call, RouteKey } from './calls.js';
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
import type { Answer, Body, Given } from './request-types.js';

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
  /**
   * The token that a JSON sign-in returned, or a function that returns the current token. A page
   * needs none, because the browser sends the session cookie.
   */
  token?: string | (() => string | Promise<string>) | undefined;
  /** Used instead of the global `fetch`. */
  fetch?: typeof fetch | undefined;
}

/** Parameters of a list, with the names of `TaskManager.find`. */
export type ListQuery = Omit<FindQuery, 'counted'>;
/** Parameters of a task's log. */
export type LogsQuery = LinesQuery;
/** Parameters of the metrics. */
export type MetricsQuery = Omit<RangeQuery, 'series'>;
/** Parameters of the functions and the queues. */
export type FiguresQuery = Pick<RangeQuery, 'from' | 'to'>;
/** Parameters of the audit. */
export type AuditQuery = Given<'auditQuery'>;
/** Body of an action. */
export type Reason = Body<'reasonBody'>;
/** Body of `rerun`. */
export type RerunBody = Body<'rerunBody'>;
/** Body of `bulk`: exactly one of `ids` and `filter`; `filter: 'all'` means every task. */
export type BulkBody = Omit<Body<'bulkBody'>, 'ids' | 'filter'> & Targets;
/** Body of `bulkRetry`. */
export type BulkRetryBody = Body<'bulkRetryBody'>;
/** Body of `retryFailed`. */
export type RetryFailedBody = Body<'retryFailedBody'>;
/** The answer of a command for many tasks. */
export type BulkAnswer = Answer<'bulkAnswer'>;
/** A page of a task's log. */
export type LogPage = Answer<'logPage'>;
/** A page of failure groups. */
export type FailureList = Answer<'failureList'>;
/** The functions with their settings and statistics. */
export type FunctionList = Answer<'functionList'>;
/** The queues with their states and statistics. */
export type QueueList = Answer<'queueList'>;
/** The schedules with their next runs. */
export type ScheduleList = Answer<'scheduleList'>;
/** The processes that have the tasks open. */
export type WorkerList = Answer<'workerList'>;
/** A page of the audit. */
export type AuditPage = Answer<'auditPage'>;

/** Selects the user whose sessions are meant. Default: the signed-in user. */
export interface SessionsQuery {
  username?: string | undefined;
  strategy?: string | undefined;
}

/** Selects a user, and a page of the user's sessions. */
export interface SessionListQuery extends SessionsQuery {
  /** Sessions of a page, 1 to 500. Default 100. */
  limit?: number | undefined;
  /** The `nextCursor` of the previous page. */
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
  /** Whether it is the session of the request. */
  current: boolean;
}

/** A task's detail as the API sends it. `args` is absent unless the server shows arguments. */
export type ShownTask = Omit<TaskDetail, 'args'> & Partial<Pick<TaskDetail, 'args'>>;

/**
 * The HTTP API of the tasks, typed. Every method rejects with a {@link ProblemError} if the server
 * refuses the request, and with a TypeError of code INVALID_INPUT for an argument that the server
 * could not check: an empty id, a command without a body, or a value of a command that is
 * `undefined`, which a request would not contain.
 */
export interface TaskClient {
  list(query?: ListQuery, signal?: AbortSignal): Promise<TaskList>;
  /** Yields all tasks of a list. It requests each page when the caller needs it. */
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
  /** Starts a delayed task now now. */
  run(id: string, body?: Reason): Promise<TaskSummary>;
  /** Resolves to the new task. */
  rerun(id: string, body?: RerunBody): Promise<TaskSummary>;
  bulk(body: BulkBody): Promise<BulkAnswer>;
  bulkRetry(body: BulkRetryBody): Promise<BulkAnswer>;
  retryFailed(body: RetryFailedBody): Promise<BulkAnswer>;
  /** Deletes tasks that ended before a time, about 10,000 a call. With `dryRun` it counts them. */
  deleteHistory(
    before: string | Date,
    options?: { dryRun?: boolean },
  ): Promise<Answer<'historyAnswer'>>;
  pauseQueue(name: string, body?: Reason): Promise<Answer<'queueAnswer'>>;
  resumeQueue(name: string, body?: Reason): Promise<Answer<'queueAnswer'>>;
  pauseSchedule(name: string, body?: Reason): Promise<Answer<'scheduleAnswer'>>;
  resumeSchedule(name: string, body?: Reason): Promise<Answer<'scheduleAnswer'>>;
  /** Resolves to the new task. */
  runSchedule(name: string, body?: Reason): Promise<TaskSummary>;
  /** Removes a schedule that no running process defines. Its tasks stay. */
  removeSchedule(name: string, body?: Reason): Promise<Answer<'scheduleRemoved'>>;
  /**
   * Lists the open sessions of the user, the most recently used first. An administrator can list
   * those of another user.
   */
  sessions(
    query?: SessionListQuery,
  ): Promise<{ items: readonly OpenSession[]; nextCursor: string | null }>;
  endSession(id: string, query?: SessionsQuery): Promise<void>;
  /** Ends all sessions of the user, including the one of the request. */
  endSessions(query?: SessionsQuery): Promise<void>;
  /** Returns the address of a path of the API: `url('/export', { format: 'csv' })`. */
  url(path: string, query?: object): string;
  /**
   * Yields changes as they happen. If the connection is lost, it connects again and resumes where
   * it stopped. A `hello` with `resumed: false` means that changes may have been missed.
   *
   * @throws ProblemError if another attempt would not help, such as UNAUTHENTICATED if the session
   * has ended.
   */
  changes(options?: ChangeOptions): AsyncGenerator<Change>;
}

/**
 * Makes a client of the tasks at an address: `https://example.com/tasks`, or `/tasks` in a page of
 * that host.
 *
 * @example
 * ```ts
 * const tasks = createClient('https://example.com/tasks', { token });
 * for await (const task of tasks.each({ status: ['failed'], from: '-1d' }))
 *   console.log(task.name, task.error?.message);
 * for await (const change of tasks.changes())
 *   if (change.type === 'tasks') console.log(change.upserts);
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
  const call = async <K extends RouteKey>(
    key: K,
    { query, body, signal, ...params }: Call<K>,
  ): Promise<AnswerOf<K>> => {
    const [method, path = ''] = key.split(' ');
    const filled = path.replace(/:(\w+)/, (_all, name: string) =>
      segment(name, (params as Record<string, unknown>)[name]),
    );
    checkSignal(signal);
    refuseUndefined('body', body);
    // At the root of a host, the address of the list is '/' and not an empty text.
    return json(`${base + filled === '' ? '/' : filled}${search(query)}`, {
      ...(method !== 'GET' && { method }),
      ...(body && { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } }),
      ...(signal && { signal }),
    });
  };

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
      throw new ProblemError(0, 'NETWORK', 'The stream was interrupted.', { cause });
    }
  }

  return {
    list: (query, signal) => call('GET ', { query, signal }),
    async *each(query, signal) {
      let cursor: string | null | undefined;
      do {
        const page: TaskList = await call('GET ', {
          query: { limit: 500, ...query, ...(cursor && { cursor }) },
          signal,
        });
        yield* page.items;
        cursor = page.nextCursor;
      } while (cursor !== null);
    },
    get: (id, query, signal) => call('GET /:id', { id, query, signal }),
    logs: (id, query, signal) => call('GET /:id/logs', { id, query, signal }),
    metrics: (query, signal) => call('GET /metrics', { query, signal }),
    failures: (query, signal) => call('GET /failures', { query, signal }),
    functions: (query, signal) => call('GET /functions', { query, signal }),
    queues: (query, signal) => call('GET /queues', { query, signal }),
    schedules: (signal) => call('GET /schedules', { signal }),
    workers: (signal) => call('GET /workers', { signal }),
    audit: (query, signal) => call('GET /audit', { query, signal }),
    retry: (id, body) => call('POST /:id/retry', { id, body }),
    cancel: (id, body) => call('POST /:id/cancel', { id, body }),
    run: (id, body) => call('POST /:id/run', { id, body }),
    rerun: (id, body) => call('POST /:id/rerun', { id, body }),
    bulk: async (body) =>
      call('POST /bulk', { body: requiredBody(body, "{ action: 'retry', ids: [id] }") }),
    bulkRetry: async (body) =>
      call('POST /bulk-retry', { body: requiredBody(body, '{ ids: [id] }') }),
    retryFailed: async (body) =>
      call('POST /retry-failed', { body: requiredBody(body, "{ since: '-1h' }") }),
    async deleteHistory(before, options = {}) {
      checkTime('before', before);
      onlyKeys('options', options, ['dryRun']);
      refuseUndefined('options', options);
      const { dryRun } = options;
      return call('DELETE /history', {
        query: { before, ...(dryRun !== undefined && { dryRun: `${dryRun}` }) },
      });
    },
    sessions: async (query) => json(`/auth/sessions${search(query)}`),
    async endSession(id, query) {
      refuseUndefined('query', query);
      await ask(`/auth/sessions/${segment('id', id)}${search(query)}`, { method: 'DELETE' });
    },
    async endSessions(query) {
      refuseUndefined('query', query);
      await ask(`/auth/sessions${search(query)}`, { method: 'DELETE' });
    },
    url: (path, query) => base + path + search(query),
    pauseQueue: (name, body) => call('POST /queues/:name/pause', { name, body }),
    resumeQueue: (name, body) => call('POST /queues/:name/resume', { name, body }),
    pauseSchedule: (name, body) => call('POST /schedules/:name/pause', { name, body }),
    resumeSchedule: (name, body) => call('POST /schedules/:name/resume', { name, body }),
    runSchedule: (name, body) => call('POST /schedules/:name/run', { name, body }),
    removeSchedule: (name, body) => call('POST /schedules/:name/remove', { name, body }),
    changes(options = {}) {
      checkChanges(options);
      return followChanges((lastEventId) => stream(options, lastEventId, options.signal), options);
    },
  };
}

/** Returns the query of an address, without `undefined`, with lists repeated and Dates as text. */
function search(query: object = {}): string {
  const pairs = membersOf('query', query).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).flatMap((each: unknown) =>
      each === undefined ? [] : [[name, textOf(`query.${name}`, each)]],
    ),
  );
  return pairs.length === 0 ? '' : `?${new URLSearchParams(pairs)}`;
}
