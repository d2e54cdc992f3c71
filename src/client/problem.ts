/** An answer that is not what was asked for, as the server described it (RFC 9457). */
export class ProblemError extends Error {
  /** HTTP status; 0 when there was no answer at all. */
  readonly status: number;
  /** Stable for programs; `NETWORK` when there was no answer at all. */
  readonly code: string;
  /** Seconds after which it may be tried again, where the server said so. */
  readonly retryAfter: number | undefined;
  /** By which the server's log names the request. */
  readonly requestId: string | undefined;
  /** Whether what was asked may have been done, in full or in part, although it failed. `true` for a command without an answer. */
  readonly maybeDone: boolean;

  constructor(
    status: number,
    code: string,
    message: string,
    options: ErrorOptions & {
      retryAfter?: number | undefined;
      requestId?: string | undefined;
      maybeDone?: boolean | undefined;
    } = {},
  ) {
    super(message, options);
    this.name = 'ProblemError';
    this.status = status;
    this.code = code;
    this.retryAfter = options.retryAfter;
    this.requestId = options.requestId;
    this.maybeDone = options.maybeDone ?? false;
  }
}

/** The error of an answer. */
export async function problemOf(response: Response): Promise<ProblemError> {
  const body: unknown = await response.json().catch(() => undefined);
  const {
    code = 'INTERNAL',
    detail = response.statusText,
    requestId,
  } = (body ?? {}) as Partial<Record<string, string>>;
  const retryAfter = Number(response.headers.get('Retry-After')) || undefined;
  const { maybeDone } = (body ?? {}) as { maybeDone?: unknown };
  return new ProblemError(response.status, code, detail, {
    retryAfter,
    requestId,
    maybeDone: maybeDone === true,
  });
}
