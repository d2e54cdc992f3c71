/**
 * What the notes since the last read say about a job, which may be removed before it is read. All
 * times are Unix milliseconds by the clock of Redis.
 */
export interface JobHint {
  /** A job was added under this id since the last read. An earlier one is another job. */
  isNew?: boolean;
  /** When it was added, or when it first waited. */
  createdAt?: number | undefined;
  /** When it last became active. */
  startedAt?: number;
  /** When it last ended. */
  endedAt?: number;
  name?: string;
  failedReason?: string;
  /** How often it became active. Default: 0. */
  starts?: number;
}

/** Adds what newer notes say to what earlier notes said. */
export function addHint(before: JobHint | undefined, hint: JobHint): JobHint {
  if (!before || hint.isNew) return hint;
  return {
    ...before,
    ...hint,
    createdAt: before.createdAt ?? hint.createdAt,
    starts: (before.starts ?? 0) + (hint.starts ?? 0),
  };
}

/** Returns what is new in `hint` after the job was written together with the notes in `written`. */
export function hintSince(written: JobHint | undefined, hint: JobHint): JobHint {
  if (!written || (hint.isNew && written.createdAt !== hint.createdAt)) return hint;
  return { ...hint, isNew: false, starts: Math.max(0, (hint.starts ?? 0) - (written.starts ?? 0)) };
}
