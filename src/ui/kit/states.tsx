import type { ComponentChildren } from 'preact';
import { ProblemError } from '../../client/client.js';
import type { Loaded } from '../live/loaded.js';

/** What stands where something could not be loaded: what failed, and a way on. The rest of the page lives on. */
export function Failure({ error, what, again }: { error: unknown; what: string; again: () => void }) {
  const problem = error instanceof ProblemError ? error : undefined;
  return (
    <div class="empty" role="alert">
      <p>
        <strong>{problem?.status === 501 ? `${what}: this engine cannot do that.` : `${what} could not be loaded.`}</strong>
      </p>
      <p>{error instanceof Error ? error.message : String(error)}</p>
      {problem && (
        <p class="faint">
          {problem.code}
          {problem.requestId !== undefined && ` · request ${problem.requestId}`}
        </p>
      )}
      {problem?.status !== 501 && (
        <button type="button" onClick={again}>
          Try again
        </button>
      )}
    </div>
  );
}

/** Rows of nothing in the place of what comes. */
export function Skeleton({ rows = 6 }: { rows?: number }) {
  return (
    <div class="skeleton" aria-hidden="true">
      {Array.from({ length: rows }, (_, n) => (
        <span key={n} />
      ))}
    </div>
  );
}

/** What is loaded; until then its skeleton, or what went wrong. What was loaded before stays. */
export function When<T>({ source, what, children }: { source: Loaded<T>; what: string; children: (value: T) => ComponentChildren }) {
  const value = source.value.value;
  const error = source.error.value;
  return (
    <>
      {error !== undefined && <Failure error={error} what={what} again={() => void source.load()} />}
      {value !== undefined ? children(value) : error === undefined && <Skeleton />}
    </>
  );
}
