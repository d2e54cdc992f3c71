import { grouped } from './show-value.js';

/**
 * Every code of an error that this package throws or answers with. Codes are API: they may be
 * added, but never renamed.
 */
export type ErrorCode = keyof typeof problems;

/** HTTP status and constant title (RFC 9457) of each code. */
const problems = {
  UNAUTHENTICATED: [401, 'Sign in first'],
  INVALID_CREDENTIALS: [401, 'Invalid username or password'],
  THROTTLED: [429, 'Too many attempts'],
  FORBIDDEN: [403, 'Not allowed'],
  CROSS_ORIGIN: [403, 'Request from another site'],
  HOST_NOT_ALLOWED: [421, 'Host not allowed'],
  INVALID_INPUT: [400, 'Invalid input'],
  INVALID_CURSOR: [400, 'Invalid cursor'],
  PAYLOAD_TOO_LARGE: [413, 'Body too large'],
  NOT_ACCEPTABLE: [406, 'Not available in this format'],
  UNSUPPORTED_MEDIA_TYPE: [415, 'Unsupported media type'],
  REQUEST_TIMEOUT: [408, 'Request took too long'],
  NOT_FOUND: [404, 'Not found'],
  TASK_NOT_FOUND: [404, 'No such task'],
  TASK_STATE_CONFLICT: [409, 'The state of the task does not allow this'],
  SCHEDULE_DEFINED: [409, 'A running process defines this schedule'],
  COUNT_CHANGED: [409, 'The filter matches a different number of tasks'],
  METHOD_NOT_ALLOWED: [405, 'Method not allowed'],
  REFUSED_BY_APP: [400, 'Refused by the app'],
  NOT_SUPPORTED: [501, 'Not supported by this engine'],
  TOO_MANY_STREAMS: [503, 'Too many open streams'],
  STORE_UNAVAILABLE: [503, 'Session store unavailable'],
  ENGINE_UNAVAILABLE: [503, 'Task engine unavailable'],
  INTERNAL: [500, 'Internal error'],
} as const satisfies Record<string, readonly [status: number, title: string]>;

/** What the client sees if the message of an error is only for the log. */
const details: Partial<Record<ErrorCode, string>> = {
  ENGINE_UNAVAILABLE: 'The tasks cannot be used at the moment.',
  STORE_UNAVAILABLE:
    'The session store cannot be used at the moment, so no session can be checked.',
};

/** All codes, for a check of the docs against the code. */
export const errorCodes = Object.keys(problems) as ErrorCode[];

/** The data that an error may carry in addition to its message. */
export interface TaskflowErrorOptions extends ErrorOptions {
  /** Response headers that belong to the error, such as `Allow` or `Retry-After`. */
  headers?: Readonly<Record<string, string>> | undefined;
  /** HTTP status, for a code that has several. Default: the status of the code. */
  status?: number | undefined;
  /**
   * The text for the client if the message may name hosts, files or users. Default: a sentence for
   * the code.
   */
  detail?: string | undefined;
  /**
   * Whether the operation may have been done, in full or in part, although it failed. Default
   * `false`.
   */
  maybeDone?: boolean | undefined;
  /**
   * Whether the error has already been logged. If so, requests that fail with it are not logged one
   * by one. Default `false`.
   */
  reported?: boolean | undefined;
}

/**
 * An error that this package throws on purpose. Programs should check `code`, because the message
 * is for people and may change.
 */
export class TaskflowError extends Error {
  readonly code: ErrorCode;
  /** HTTP status of a response with this error. */
  readonly status: number;
  /** Constant text for the code. */
  readonly title: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly reported: boolean;
  /**
   * Whether the operation may have been done, in full or in part, because its answer did not
   * arrive or a part of it failed. If it is `false`, nothing was done. Tasks with an
   * `idempotencyKey` can safely be enqueued again in both cases.
   */
  readonly maybeDone: boolean;
  readonly #detail: string | undefined;

  constructor(code: ErrorCode, message: string, given: TaskflowErrorOptions = {}) {
    const { headers = {}, status, reported = false, detail, maybeDone = false, ...options } = given;
    super(message, options);
    this.name = 'TaskflowError';
    this.code = code;
    [this.status, this.title] = problems[code];
    if (status !== undefined) this.status = status;
    this.headers = headers;
    this.reported = reported;
    this.maybeDone = maybeDone;
    this.#detail = detail;
  }

  /**
   * The text for the client: the message, or a text without hosts, files and users. `undefined` if
   * the text is only for the log.
   */
  get detail(): string | undefined {
    return this.expose ? this.message : (this.#detail ?? details[this.code]);
  }

  /** Whether the client may see the message. It may not for an error of the server itself. */
  get expose(): boolean {
    return this.status < 500 || this.code === 'TOO_MANY_STREAMS' || this.code === 'NOT_SUPPORTED';
  }
}

/** Returns the error of a command that changed some tasks before it failed. */
export function partlyDone(error: unknown): unknown {
  if (!(error instanceof TaskflowError) || error.code !== 'ENGINE_UNAVAILABLE') return error;
  const { message, headers, reported, cause, detail } = error;
  const add = (text: string): string =>
    `${text.replace(/\.$/, '')}. The command was carried out for some of the tasks.`;
  return new TaskflowError(error.code, add(message), {
    headers,
    reported,
    cause,
    detail: detail && add(detail),
    maybeDone: true,
  });
}

/** Whether an error has already been logged, so that callers need not log it again. */
export function isReported(error: unknown): boolean {
  return error instanceof TaskflowError && error.reported;
}

/** Returns the message of an error, or of any other value that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The fields of an error in a log line. */
export interface LoggedError {
  /** Name of the error's class. */
  name: string;
  message: string;
  code?: string | undefined;
  stack?: string | null | undefined;
  cause?: LoggedError | undefined;
  errors?: readonly LoggedError[] | undefined;
  /** As in the stored failure of a task. */
  fingerprint?: string | undefined;
}

/** Maximum lengths of the texts of an error in a log line. */
const maxLogged = { message: 500, stack: 8 * 1024 };

/**
 * Returns the `err` field of a log line: a copy of known fields. Drivers and HTTP clients attach
 * whole requests to their errors, so the error itself is not logged. pino's error serializer also
 * writes into the object that it receives, which fails if that object is frozen.
 *
 * The serializer reads `type` from the constructor, which would be "Object". For an object without
 * a prototype, it reads `name`. It logs the members of an AggregateError as `aggregateErrors`, so
 * `errors` is not enumerable here, as in an AggregateError.
 */
export function loggedError(error: LoggedError): object {
  const { name, message, code, stack, cause, errors, fingerprint } = error;
  const logged = Object.create(null) as object;
  Object.defineProperty(logged, 'name', { value: name });
  Object.assign(logged, {
    type: name,
    message: message.slice(0, maxLogged.message),
    code,
    stack: stack?.slice(0, maxLogged.stack),
    fingerprint,
    cause: cause && loggedError(cause),
  });
  if (errors) Object.defineProperty(logged, 'errors', { value: errors.map(loggedError) });
  return logged;
}

/** Returns the error of a command that finds a different number of tasks than expected. */
export function countChanged(count: number, expected: number): TaskflowError {
  const [now, before] = [grouped(count), grouped(expected)];
  return new TaskflowError(
    'COUNT_CHANGED',
    `The number of matching tasks is now ${now}, not ${before}. Nothing was done.`,
  );
}
