/**
 * Codes of errors of Redis that may disappear: it is starting, has no memory or disk left, changes
 * its role, or denies a permission.
 */
const passing = [
  ...(['LOADING', 'READONLY', 'OOM', 'MISCONF', 'MASTERDOWN', 'CLUSTERDOWN', 'TRYAGAIN'] as const),
  ...(['NOREPLICAS', 'BUSY', 'NOAUTH', 'NOPERM', 'WRONGPASS', 'UNBLOCKED'] as const),
];

/** A code of an error of Redis that this package knows. */
export type RedisCode = (typeof passing)[number] | 'EXECABORT' | 'NOSCRIPT' | 'WRONGTYPE';

interface AnyError {
  name: string;
  message: string;
  syscall?: unknown;
}

/** An error may come from another realm than this module. */
export function isError(error: unknown): error is AnyError {
  return (
    typeof error === 'object' &&
    error !== null &&
    'message' in error &&
    typeof error.message === 'string'
  );
}

/** Returns whether Redis itself answered with this error. */
export function isAnswer(error: unknown): boolean {
  return isError(error) && error.name === 'ReplyError';
}

/**
 * Returns the first error of a command in a transaction that Redis refused for it. The error of the
 * transaction itself, EXECABORT, does not say why. Returns any other error as it is.
 */
export function refusalOf(thrown: unknown): unknown {
  const { previousErrors } = (thrown ?? {}) as { previousErrors?: unknown };
  return Array.isArray(previousErrors) && previousErrors.length > 0 ? previousErrors[0] : thrown;
}

/**
 * Whether Redis answered with an error that has one of these codes. In a transaction, the error of
 * the command that Redis refused counts too.
 */
export function hasCode(thrown: unknown, ...codes: readonly RedisCode[]): boolean {
  const found = [thrown, refusalOf(thrown)].map(codeOf);
  return codes.some((code) => found.includes(code));
}

/** Returns whether an error of Redis may disappear by itself. */
export function isPassing(error: unknown): boolean {
  return hasCode(error, ...passing);
}

const deniedInScript = /The user executing the script can't |NOPERM ACL failure in script/;

/** Returns whether a script failed at a command that the user must not run. */
export function isDeniedInScript(error: unknown): boolean {
  return isError(error) && isAnswer(error) && deniedInScript.test(error.message);
}

/**
 * Returns the code of an error, which is the first word of its message. If a command fails in a
 * script, Redis 6 puts the position in the script before it, and some codes begin with `-`:
 *
 * `ERR Error running script (call to f_…): @user_script:12: @user_script: 12: -OOM command …`
 */
function codeOf(error: unknown): string | undefined {
  if (!isError(error) || !isAnswer(error)) return undefined;
  const message = error.message.replace(/^(ERR Error running script .*)?@user_script: ?\d+: /s, '');
  // Redis 6 and 7.0 give this error no code, because a script caused it.
  if (/^(ERR )?The user executing the script can't /.test(message)) return 'NOPERM';
  return /^-?([A-Z]+)\b/.exec(message)?.[1];
}
