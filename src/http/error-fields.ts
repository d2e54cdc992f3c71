import { loggedError } from '../errors.js';

/**
 * What a log may say of an error: drivers put whole requests, passwords and all, into theirs. Its
 * stack is for `debug` alone.
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

/** The text without the secrets, also where it has them as a URL or JSON would write them. */
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
