import { loggedError } from '../errors.js';

/**
 * Returns the fields of an error that a log line may contain. Drivers attach whole requests,
 * including passwords, to their errors, so only known fields are copied. The stack is left out: it
 * is logged at `debug` only.
 */
export function errorFields(error: unknown, secrets: readonly string[] = []): object {
  if (!(error instanceof Error)) return { type: typeof error };
  const { code } = error as { code?: unknown };
  return loggedError({
    name: redacted(
      error.name === 'Error' ? error.constructor.name || error.name : error.name,
      secrets,
    ).slice(0, 100),
    message: redacted(String(error.message), secrets),
    code: typeof code === 'string' ? redacted(code, secrets).slice(0, 100) : undefined,
  });
}

/**
 * Returns the text without the secrets, in each form in which a URL, JSON or Base64 may contain
 * them. Cut a text afterwards, not before: a cut through a secret would leave a part of it.
 */
export function redacted(text: string, secrets: readonly string[]): string {
  const spellings = secrets.flatMap((secret) => [
    secret,
    encodeURIComponent(Buffer.from(secret).toString()),
    JSON.stringify(secret).slice(1, -1),
    Buffer.from(secret).toString('base64'),
  ]);
  // A short secret may be a part of a longer one, of which it would leave the rest.
  return spellings
    .filter((spelling) => spelling !== '')
    .sort((one, other) => other.length - one.length)
    .reduce((shown, spelling) => shown.replaceAll(spelling, '[redacted]'), text);
}
