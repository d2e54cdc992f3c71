/** The password and the key of the tests. They must never appear in an answer or a log. */
export const password = 'Canary-Pa55word-of-the-tests';
/** A key that can sign tokens. */
export const secretKey = 'Canary-5ecret-key-of-the-tests-0123456789-abcdef';

const canaries = new Set(
  [password, secretKey].flatMap((secret) => [
    secret,
    encodeURIComponent(secret),
    Buffer.from(secret).toString('base64').replace(/=+$/, ''),
  ]),
);
const found: string[] = [];

/** Registers tokens and cookies as canaries as soon as a test gets one. */
export function watchSecret(secret: string): void {
  if (secret.length > 40) canaries.add(secret);
}

/** Records each forbidden text in an answer or a log line. {@link takeLeaks} returns them. */
export function searchForCanaries(text: string, where: string): void {
  for (const canary of canaries)
    if (text.includes(canary))
      found.push(`${where} holds ${canary.slice(0, 12)}…: ${text.slice(0, 300)}`);
}

/** Returns the leaks since the last call. Each test file checks them at its end. */
export function takeLeaks(): string[] {
  return found.splice(0);
}
