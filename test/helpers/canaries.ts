/** The password and the key of the tests: neither may ever be read in an answer or a log. */
export const password = 'Canary-Pa55word-of-the-tests';
/** A key that may sign. */
export const secretKey = 'Canary-5ecret-key-of-the-tests-0123456789-abcdef';

const canaries = new Set(
  [password, secretKey].flatMap((secret) => [
    secret,
    encodeURIComponent(secret),
    Buffer.from(secret).toString('base64').replace(/=+$/, ''),
  ]),
);
const found: string[] = [];

/** Tokens and cookies are canaries as soon as a test has one. */
export function watchSecret(secret: string): void {
  if (secret.length > 40) canaries.add(secret);
}

/** Notes where a text holds what it must not; {@link takeLeaks} tells. */
export function searchForCanaries(text: string, where: string): void {
  for (const canary of canaries)
    if (text.includes(canary))
      found.push(`${where} holds ${canary.slice(0, 12)}…: ${text.slice(0, 300)}`);
}

/** What was found since the last time; every test file asks at its end. */
export function takeLeaks(): string[] {
  return found.splice(0);
}
