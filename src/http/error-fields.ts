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
 * them.
 */
export function redacted(text: string, secrets: readonly string[]): string {
  let shown = text.slice(0, 4000);
  for (const secret of secrets) {
    if (secret === '') continue;
    const spellings = [
      secret,
      encodeURIComponent(Buffer.from(secret).toString()),
      JSON.stringify(secret).slice(1, -1),
      Buffer.from(secret).toString('base64'),
    ];
    for (const spelling of spellings) shown = shown.replaceAll(spelling, '[redacted]');
  }
  return shown;
}
