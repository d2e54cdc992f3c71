import type { Metrics, TaskDetail, TaskStatus, TaskSummary } from '../tasks/types.js';
import { readEvents, type ServerEvent } from './events.js';

export { canCancel, canRetry } from '../tasks/states.js';
export type { LogLine, Metrics, Pulse, TaskStatus, TaskSummary } from '../tasks/types.js';
export type { DashboardFacts } from '../web/dashboard-routes.js';
export type { ServerEvent } from './events.js';

/** An answer that is not what was asked for, as the server described it (RFC 9457). */
export class ProblemError extends Error {
  readonly status: number;
  /** Stable for programs; `NETWORK` when there was no answer at all. */
  readonly code: string;

  constructor(status: number, code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ProblemError';
    this.status = status;
    this.code = code;
  }
}

interface ListFilters {
  status?: readonly TaskStatus[];
  name?: string | undefined;
  limit?: number;
  cursor?: string | undefined;
}

interface TaskList {
  items: readonly TaskSummary[];
  nextCursor: string | null;
  total: number;
  totalRelation: 'eq' | 'gte';
}

/** A task's detail as the API sends it: `args` only where the server shows them. */
export type ShownTask = Omit<TaskDetail, 'args'> & Partial<Pick<TaskDetail, 'args'>>;

interface StreamWishes {
  /** Tasks whose log is wanted. */
  follow?: readonly string[];
  lastEventId?: string | undefined;
  signal: AbortSignal;
}

/** The HTTP contract of the tasks, typed. */
export interface TaskClient {
  list(filters: ListFilters, signal?: AbortSignal): Promise<TaskList>;
  get(id: string, signal?: AbortSignal): Promise<ShownTask>;
  metrics(): Promise<Metrics>;
  retry(id: string): Promise<TaskSummary>;
  cancel(id: string): Promise<TaskSummary>;
  /** Yields events until the server ends the stream, which is no error. */
  stream(wishes: StreamWishes): AsyncGenerator<ServerEvent>;
}

/** A client of the tasks at `base`, such as `/tasks`; an empty string is the root of the host. */
export function createClient(base: string): TaskClient {
  const ask = async (path: string, init?: RequestInit): Promise<Response> => {
    const response = await fetch(base + path, init).catch((cause: unknown) => {
      if (init?.signal?.aborted) throw cause;
      throw new ProblemError(0, 'NETWORK', 'The server cannot be reached.', { cause });
    });
    if (!response.ok) throw await problemOf(response);
    return response;
  };
  const json = async <T>(path: string, init?: RequestInit): Promise<T> => (await (await ask(path, init)).json()) as T;

  return {
    list: ({ status = [], name, limit, cursor }, signal) => {
      const query = new URLSearchParams();
      for (const each of status) query.append('status', each);
      if (name !== undefined) query.set('name', name);
      if (limit !== undefined) query.set('limit', String(limit));
      if (cursor !== undefined) query.set('cursor', cursor);
      // At the root of a host the list is at '/', which an empty path would not be.
      const path = base === '' ? '/' : '';
      return json<TaskList>(query.size === 0 ? path : `${path}?${query}`, signal ? { signal } : {});
    },
    get: (id, signal) => json<ShownTask>(`/${encodeURIComponent(id)}`, signal ? { signal } : {}),
    metrics: () => json<Metrics>('/metrics'),
    retry: (id) => json<TaskSummary>(`/${encodeURIComponent(id)}/retry`, { method: 'POST' }),
    cancel: (id) => json<TaskSummary>(`/${encodeURIComponent(id)}/cancel`, { method: 'POST' }),
    async *stream({ follow = [], lastEventId, signal }) {
      const query = new URLSearchParams(follow.map((id) => ['task', id]));
      const headers: Record<string, string> = lastEventId === undefined ? {} : { 'Last-Event-ID': lastEventId };
      const { body } = await ask(`/dashboard/stream${query.size === 0 ? '' : `?${query}`}`, { headers, signal });
      if (body) yield* readEvents(body);
    },
  };
}

async function problemOf(response: Response): Promise<ProblemError> {
  const body: unknown = await response.json().catch(() => undefined);
  const { code = 'INTERNAL', detail = response.statusText } = (body ?? {}) as { code?: string; detail?: string };
  return new ProblemError(response.status, code, detail);
}
