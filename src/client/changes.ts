import type { LogLine, StatsSnapshot, TaskSummary } from '../tasks/types.js';
import type { ServerEvent } from './events.js';
import { ProblemError } from './problem.js';

/** An event of the stream. Pass its `id` as `lastEventId` to resume after it. */
export type Change = { id: string | undefined } & (
  | { type: 'hello'; resumed: boolean; serverTime: string; version: string }
  /**
   * Tasks as they are now. `dropped` counts changed tasks that the event does not contain. If there
   * are any, load again what you show.
   */
  | { type: 'tasks'; upserts: readonly TaskSummary[]; removed: readonly string[]; dropped: number }
  | ({ type: 'metrics' } & StatsSnapshot)
  | { type: 'log'; task: string; lines: readonly LogLine[] }
  /** The connection was lost. The next attempt is in `retryIn` seconds. */
  | { type: 'lost'; retryIn: number; cause: unknown }
);

/** Options of {@link TaskClient.changes}. */
export interface ChangeOptions {
  /** Default: both. */
  topics?: readonly ('tasks' | 'metrics')[] | undefined;
  /** Ids of tasks whose new log lines are sent. At most 20. */
  follow?: readonly string[] | undefined;
  /** The `id` of the last event of an earlier stream. */
  lastEventId?: string | undefined;
  /** Ends the iteration. */
  signal?: AbortSignal | undefined;
  /** Waits between two attempts to connect. It may resolve early. Default: a timer. */
  wait?: ((seconds: number) => Promise<void>) | undefined;
}

/** Seconds between two attempts to connect, doubled from the first to the last. */
const retryDelay = { first: 1, last: 30 };

/**
 * Follows the stream. If the connection is lost, it connects again and resumes. Ends with the
 * signal.
 *
 * @throws ProblemError if another attempt would not help: UNAUTHENTICATED if the session has ended,
 * or any other refusal of the server.
 */
export async function* followChanges(
  open: (lastEventId: string | undefined) => AsyncGenerator<ServerEvent>,
  { lastEventId, signal, wait = sleep }: ChangeOptions,
): AsyncGenerator<Change> {
  const gone = aborted(signal);
  let id = lastEventId;
  let delay = retryDelay.first;
  while (!signal?.aborted) {
    let cause: unknown;
    let asked = false;
    try {
      for await (const event of open(id)) {
        id = event.id ?? id;
        asked = event.event === 'reconnect';
        const change = changeOf(event, id);
        if (change) yield change;
        delay = retryDelay.first;
      }
    } catch (error) {
      if (signal?.aborted) return;
      if (!isPassing(error)) throw error;
      cause = error;
    }
    if (signal?.aborted) return;
    const least = cause instanceof ProblemError ? (cause.retryAfter ?? 0) : 0;
    // Random, so that not all clients reconnect at once when a server has restarted.
    const retryIn = Math.max(least, delay * (0.75 + Math.random() / 2));
    // If the server asked for a reconnect to identify the user again, the connection is not lost.
    if (!asked) yield { type: 'lost', retryIn, cause, id };
    await Promise.race([wait(retryIn), gone]);
    delay = Math.min(delay * 2, retryDelay.last);
  }
}

/** Whether another attempt may succeed. */
function isPassing(error: unknown): boolean {
  return (
    error instanceof ProblemError &&
    (error.status === 0 || error.status === 429 || error.status >= 500)
  );
}

function changeOf({ event, data }: ServerEvent, id: string | undefined): Change | undefined {
  const value = JSON.parse(data) as never;
  switch (event) {
    case 'session':
      throw new ProblemError(
        401,
        'UNAUTHENTICATED',
        (value as { reason: string }).reason === 'revoked'
          ? 'The session has been ended.'
          : 'The session has expired.',
      );
    case 'log': {
      const { id: task, lines } = value as { id: string; lines: readonly LogLine[] };
      return { type: 'log', task, lines, id };
    }
    case 'hello':
    case 'tasks':
    case 'metrics':
      return { ...(value as object), type: event, id } as Change;
    default:
      // An event of a newer server.
      return undefined;
  }
}

/** Resolves when the signal aborts. */
function aborted(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) =>
    signal?.addEventListener('abort', () => resolve(), { once: true }),
  );
}

function sleep(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}
