import { isLoopback } from '../redirects/public-url.js';
import type { Finding } from '../strategies/command-port.js';
import { fault, ok, warning } from '../strategies/finding.js';
import { cookieFindings } from './cookie-findings.js';
import { open, type PublicLogin } from './public-login.js';

/*
 * Opens the login page as a browser would, through all proxies. A logout without a session changes
 * nothing, and its answer shows the attributes of the session cookie.
 */

/** Looks at a login as browsers reach it. */
export async function pageFindings(login: PublicLogin): Promise<readonly Finding[]> {
  const { base, prefix } = login;
  let page: Response;
  let html: string;
  try {
    page = await open(`${base}${prefix}/auth/login?form`);
    html = await page.text();
  } catch (error) {
    const todo =
      'open the address in a browser; check the host name, the proxy and its certificate';
    return [fault('login page', `cannot be opened (${codeOf(error)})`, todo)];
  }
  const found = /href="([^"]*)\/auth\/assets\//.exec(html)?.[1];
  if (page.status !== 200 || found === undefined) {
    const todo = `let the proxy pass ${prefix || '/'} to the app without its own login`;
    const shown = `status ${page.status}, but not the login page`;
    return [fault('login page', shown, todo)];
  }
  return [
    ok('login page', 'answers'),
    ...addressFindings(login),
    prefixFinding(login, found),
    ...transportFindings(login, page),
    ...(await cookieFindings(login)),
    ...(await redirectFindings(login)),
  ];
}

function addressFindings({ base, options: { publicUrl } }: PublicLogin): Finding[] {
  if (publicUrl === undefined || publicUrl === base) return [];
  const found = `${publicUrl}, but browsers open ${base}`;
  return [fault('publicUrl', found, `set publicUrl to ${base}, and register the new URLs`)];
}

/** Compares the prefix of the links on the page with the address of the page. */
function prefixFinding({ base, prefix }: PublicLogin, found: string): Finding {
  const { pathname } = new URL(base);
  const outside = (pathname === '/' ? '' : pathname) + prefix;
  if (found === outside) return ok('path prefix', outside || 'none');
  return fault(
    'path prefix',
    `the page links to ${found || '/'} instead of ${outside || '/'}`,
    `let the proxy send X-Forwarded-Prefix: ${pathname}, and set app.proxy`,
  );
}

function transportFindings({ base }: PublicLogin, page: Response): Finding[] {
  const { protocol, hostname } = new URL(base);
  if (protocol === 'http:')
    return isLoopback(hostname)
      ? []
      : [fault('HTTPS', 'the page is not encrypted', 'serve the app over HTTPS only')];
  const policy = page.headers.get('Strict-Transport-Security');
  if (policy !== null) return [ok('HSTS', policy)];
  const todo = 'let the proxy or the app send Strict-Transport-Security: max-age=63072000';
  return [warning('HSTS', 'browsers may open the page without encryption', todo)];
}

/** Reads the redirect URI that the app sends to each provider, if the request decides it. */
async function redirectFindings(login: PublicLogin): Promise<readonly Finding[]> {
  const { base, prefix, registry, options } = login;
  if (options.publicUrl !== undefined) return [];
  const all = registry.names('redirect').map(async (name): Promise<readonly Finding[]> => {
    const what = `redirect URI of ${name}`;
    const expected = `${base}${prefix}/auth/callback/${name}`;
    const response = await open(`${base}${prefix}/auth/start/${name}`);
    const location = response.headers.get('Location') ?? '';
    const sent = URL.canParse(location) && new URL(location).searchParams.get('redirect_uri');
    if (!sent || sent === expected) return [];
    const todo = 'set publicUrl, or app.proxy and the headers X-Forwarded-Proto and Host';
    return [fault(what, `${sent} instead of ${expected}`, todo)];
  });
  return (await Promise.all(all)).flat();
}

function codeOf(error: unknown): string {
  const { cause, name } = error as { cause?: { code?: unknown }; name?: string };
  return typeof cause?.code === 'string' ? cause.code : (name ?? 'unknown');
}
