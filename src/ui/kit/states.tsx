import type { Signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { ProblemError } from '../../client/client.js';

/** Shows in place what could not be loaded and why, with a button that tries again. */
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

/** Something that is loaded from the server. */
export interface Source<T> {
  value: Signal<T | undefined>;
  /** What went wrong last; the value before it stays. */
  error: Signal<unknown>;
  /** Loads it again, in place of a load that is under way. */
  load(): Promise<void>;
}

interface WhenProps<T> {
  source: Source<T>;
  what: string;
  children: (value: T) => ComponentChildren;
}

/**
 * Shows what is loaded. Until then it shows a skeleton, or the error; the value of an earlier load
 * stays.
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
