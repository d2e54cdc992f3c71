import type { LogLine, StatsSnapshot, TaskSummary } from '../tasks/types.js';
import type { ServerEvent } from './events.js';
import { ProblemError } from './problem.js';

/** What the stream tells. `id` is what `lastEventId` takes to go on from there. */
export type Change = { id: string | undefined } & (
  | { type: 'hello'; resumed: boolean; serverTime: string; version: string }
  /** Tasks as they are now; `dropped` counts changed ones that are not among them: then load what you show anew. */
  | { type: 'tasks'; upserts: readonly TaskSummary[]; removed: readonly string[]; dropped: number }
  | ({ type: 'metrics' } & StatsSnapshot)
  | { type: 'log'; task: string; lines: readonly LogLine[] }
  /** The stream was lost; the next try is in so many seconds. */
  | { type: 'lost'; retryIn: number; cause: unknown }
);

/** What is wanted of the stream. */
export interface ChangeOptions {
  /** Default: both. */
  topics?: readonly ('tasks' | 'metrics')[] | undefined;
  /** Tasks whose log lines are told as they come. */
  follow?: readonly string[] | undefined;
  /** Where an earlier stream was left. */
  lastEventId?: string | undefined;
  /** Ends the iteration. */
  signal?: AbortSignal | undefined;
  /** How a time between two tries is waited for: for whoever wants to cut it short. Default: a timer. */
  wait?: ((seconds: number) => Promise<void>) | undefined;
}

/** Seconds between two tries, doubled from the first to the last. */
const retryDelay = { first: 1, last: 30 };

/**
 * Follows the stream, and comes back to it where it was whenever it is lost. Ends with the signal.
 *
 * @throws ProblemError when trying again would not help: UNAUTHENTICATED when the session has ended, and whatever else the
 * server refuses.
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
    try {
      for await (const event of open(id)) {
        id = event.id ?? id;
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
    // Spread, so that a server which has restarted does not see all of them at once.
    const retryIn = Math.max(least, delay * (0.75 + Math.random() / 2));
    yield { type: 'lost', retryIn, cause, id };
    await Promise.race([wait(retryIn), gone]);
    delay = Math.min(delay * 2, retryDelay.last);
  }
}

/** Whether it may be well again after a while. */
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
        `The session has ${(value as { reason: string }).reason === 'revoked' ? 'been ended' : 'expired'}.`,
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
      // Of a newer server.
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
