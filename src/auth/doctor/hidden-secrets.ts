import { redacted } from '../../http/error-fields.js';

/** Names of environment variables whose values are secrets. */
const secretName = /PASS|SECRET|TOKEN|KEY|CREDENTIAL/i;

/** Matches the user name and the password of a URL. The password may contain any character. */
const userInfo = /(\b[a-z][a-z0-9+.-]*:\/\/)\S*@/gi;

/** Maximum number of characters of a text. */
const maxText = 4000;

/** Matches characters that could control a terminal or start another line of the output. */
const control = /[\p{Cc}\p{Cs}\u2028\u2029]/gu;

/**
 * Makes a function for all texts that a command prints. It removes the given secrets, the
 * secrets of the environment, the passwords in URLs, and control characters, and then cuts the
 * text. The messages of drivers and of the app's own code may contain them.
 */
export function secretsHider(secrets: readonly string[]): (text: string) => string {
  const fromEnvironment = Object.entries(process.env).flatMap(([name, value = '']) => {
    if (URL.canParse(value)) return passwordsOf(new URL(value));
    return secretName.test(name) ? [value, ...value.split(/\s+/)] : [];
  });
  const all = [...secrets, ...fromEnvironment].filter((secret) => secret.length >= 8);
  return (text) =>
    redacted(text, all)
      // For a very long text, the patterns below would take minutes.
      .slice(0, 2 * maxText)
      .replace(userInfo, '$1[redacted]@')
      .replaceAll(control, '\ufffd')
      .slice(0, maxText);
}

/** Returns the password of a URL as it is written and decoded, if it can be decoded. */
function passwordsOf({ password }: URL): string[] {
  try {
    return [password, decodeURIComponent(password)];
  } catch {
    return [password];
  }
}

/** Applies a function to all texts of a value, as JSON shows it. */
export function mapTexts<T>(value: T, change: (text: string) => string): T {
  return JSON.parse(
    JSON.stringify(value, (_name, part: unknown) =>
      typeof part === 'string' ? change(part) : part,
    ),
  ) as T;
}
