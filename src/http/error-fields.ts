/** What a log may say of an error: drivers put whole requests, passwords and all, into theirs. Its stack is for `debug` alone. */
export function errorFields(error: unknown, secrets: readonly string[] = []): object {
  if (!(error instanceof Error)) return { type: typeof error };
  const { code } = error as { code?: unknown };
  const type = redacted(error.name, secrets).slice(0, 100);
  // Without a prototype pino's own serializer of errors takes the type from the name; it would say "Object" else.
  return Object.assign(Object.create(null) as object, {
    type,
    name: type,
    message: redacted(String(error.message), secrets).slice(0, 500),
    ...(typeof code === 'string' && { code: redacted(code, secrets).slice(0, 100) }),
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
