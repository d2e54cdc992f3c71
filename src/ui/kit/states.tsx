import type { Signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { ProblemError } from '../../client/client.js';

/** Shows what could not be loaded and why, with a button to try again. */
export function Failure({
  error,
  what,
  again,
}: {
  error: unknown;
  what: string;
  again: () => void;
}) {
  const problem = error instanceof ProblemError ? error : undefined;
  return (
    <div class="empty" role="alert">
      <p>
        <strong>
          {problem?.status === 501
            ? `${what}: this engine cannot do that.`
            : `${what} could not be loaded.`}
        </strong>
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

/** Placeholder rows, shown until the content is loaded. */
export function Skeleton({ rows = 6 }: { rows?: number }) {
  return (
    <div class="skeleton" aria-hidden="true">
      {Array.from({ length: rows }, (_, n) => (
        <span key={n} />
      ))}
    </div>
  );
}

/** Data that is loaded from the server. */
export interface Source<T> {
  value: Signal<T | undefined>;
  /** The error of the last load. The previous value stays. */
  error: Signal<unknown>;
  /** Loads the data again. Replaces a load in progress. */
  load(): Promise<void>;
}

interface WhenProps<T> {
  source: Source<T>;
  what: string;
  children: (value: T) => ComponentChildren;
}

/**
 * Shows loaded data. Until it is loaded, shows a skeleton or the error. The value of an earlier
 * load stays.
 */
export function When<T>({ source, what, children }: WhenProps<T>) {
  const value = source.value.value;
  const error = source.error.value;
  return (
    <>
      {error !== undefined && (
        <Failure error={error} what={what} again={() => void source.load()} />
      )}
      {value !== undefined ? children(value) : error === undefined && <Skeleton />}
    </>
  );
}
