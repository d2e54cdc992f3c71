import type { CheckedAuthOptions } from '../auth-options.js';
import type { StrategyRegistry } from '../strategies/registry.js';

/** A login as browsers reach it. */
export interface PublicLogin {
  /** The URL of the app, without the path of the login. */
  readonly base: string;
  /** The path of the login. */
  readonly prefix: string;
  readonly options: Pick<CheckedAuthOptions, 'cookie' | 'cookies' | 'publicUrl'>;
  readonly registry: Pick<StrategyRegistry, 'names'>;
}

/**
 * Reads the option `--url`.
 *
 * @throws Error if it is not an http(s) URL, or if it has a password.
 */
export function urlOption(url: string): URL {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (!parsed || !/^https?:$/.test(parsed.protocol) || parsed.username || parsed.password)
    throw new Error(
      '--url must be the http(s) URL of the app as browsers see it, without a password, such as ' +
        'https://jobs.example.com',
    );
  return parsed;
}

/** Returns the URL of the app. The path of the login may be at the end of the given URL. */
export function publicBase({ origin, pathname }: URL, prefix: string): string {
  const path = pathname.replace(/\/$/, '');
  return origin + (prefix !== '' && path.endsWith(prefix) ? path.slice(0, -prefix.length) : path);
}

/** Milliseconds that an answer may take. */
const timeLimit = 10_000;

/** Sends a request without following redirects. */
export function open(url: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(url, {
    headers: { Accept: 'text/html', ...headers },
    redirect: 'manual',
    signal: AbortSignal.timeout(timeLimit),
  });
}
