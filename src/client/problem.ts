/** The error that the server answered with (RFC 9457), or the failure to reach it. */
export class ProblemError extends Error {
  /** HTTP status; 0 if there was no answer. */
  readonly status: number;
  /** Stable code for programs; `NETWORK` if there was no answer. */
  readonly code: string;
  /** Seconds to wait before another attempt, if the server named them. */
  readonly retryAfter: number | undefined;
  /** Id of the request in the server's log. */
  readonly requestId: string | undefined;
  /**
   * Whether the command may have been done, in full or in part, although the request failed. `true`
   * for a command without an answer.
   */
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

/** Returns the error that an answer describes. */
export async function problemOf(response: Response): Promise<ProblemError> {
  const body = ((await response.json().catch(() => undefined)) ?? {}) as {
    code?: string;
    detail?: string;
    requestId?: string;
    maybeDone?: unknown;
  };
  const { code = 'INTERNAL', detail = response.statusText, requestId, maybeDone } = body;
  const retryAfter = Number(response.headers.get('Retry-After')) || undefined;
  return new ProblemError(response.status, code, detail, {
    retryAfter,
    requestId,
    maybeDone: maybeDone === true,
  });
}
