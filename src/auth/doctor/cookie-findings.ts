import type { Finding } from '../strategies/command-port.js';
import { fault, ok, warning } from '../strategies/finding.js';
import { open, type PublicLogin } from './public-login.js';

/** What an answer shows about the session cookie and the path of the login. */
interface Seen {
  /** The attributes of the session cookie; `undefined` if the answer does not set it. */
  attributes: readonly string[] | undefined;
  location: string;
}

/** Asks for a logout without a session, whose answer clears the cookie. */
async function logOut(
  { base, prefix, options: { cookies } }: PublicLogin,
  headers: Record<string, string> = {},
): Promise<Seen> {
  const response = await open(`${base}${prefix}/auth/logout`, headers);
  const line = response.headers
    .getSetCookie()
    .find((each) => each.startsWith(`${cookies.session.bareName}=`));
  return {
    attributes: line
      ?.split(';')
      .slice(1)
      .map((attribute) => attribute.trim()),
    location: response.headers.get('Location') ?? '',
  };
}

/** Looks at the session cookie, and at headers that clients can forge. */
export async function cookieFindings(login: PublicLogin): Promise<readonly Finding[]> {
  const seen = await logOut(login);
  if (!seen.attributes) {
    const todo = `let the proxy pass ${login.prefix}/auth/logout with its Set-Cookie headers`;
    return [warning('session cookie', 'is missing from the response of the sign-out', todo)];
  }
  return [...attributeFindings(login, seen.attributes), ...(await forgedFindings(login, seen))];
}

function attributeFindings(
  { base, options: { cookie, cookies } }: PublicLogin,
  attributes: readonly string[],
): Finding[] {
  const what = 'session cookie';
  const isHttps = base.startsWith('https:');
  const isSecure = isSecureIn(attributes);
  const { bareName } = cookies.session;
  const name = isSecure && cookie.domain === undefined ? `__Host-${bareName}` : bareName;
  const sameSite = attributes.find((each) => /^SameSite=/i.test(each));
  const missing = [
    ...(attributes.some((each) => /^HttpOnly$/i.test(each)) ? [] : ['HttpOnly']),
    ...(sameSite === undefined ? ['SameSite'] : []),
  ];
  if (missing.length > 0) {
    const todo = 'remove the rule of the proxy that changes Set-Cookie';
    return [fault(what, `${name} arrives without ${missing.join(' and ')}`, todo)];
  }
  if (isHttps && !isSecure)
    return [
      fault(
        what,
        `${name} is not Secure, because the app does not know that browsers use HTTPS`,
        'set app.proxy and let the proxy send X-Forwarded-Proto, or set cookie.secure: true',
      ),
    ];
  if (!isHttps && isSecure) {
    const todo = 'open the app over HTTPS';
    return [warning(what, `${name} is Secure, so browsers drop it over plain HTTP`, todo)];
  }
  const shown = [name, ...(isSecure ? ['Secure'] : []), 'HttpOnly', sameSite].join('; ');
  return [ok(what, shown)];
}

function isSecureIn(attributes: readonly string[] = []): boolean {
  return attributes.some((each) => /^Secure$/i.test(each));
}

const forgedPrefix = '/forged-by-doctor';

/** Sends headers that only a proxy may set, and checks whether the app trusts them. */
async function forgedFindings(login: PublicLogin, seen: Seen): Promise<readonly Finding[]> {
  const other = login.base.startsWith('https:') ? 'http' : 'https';
  const forged = await logOut(login, {
    'X-Forwarded-Proto': other,
    'X-Forwarded-Prefix': forgedPrefix,
  });
  const trusted = [
    ...(isSecureIn(forged.attributes) === isSecureIn(seen.attributes) ? [] : ['X-Forwarded-Proto']),
    ...(forged.location.includes(forgedPrefix) ? ['X-Forwarded-Prefix'] : []),
  ];
  if (trusted.length === 0)
    return [ok('forwarded headers', 'the app ignores those that clients send')];
  return [
    warning(
      'forwarded headers',
      `the app trusts ${trusted.join(' and ')} from any client`,
      'let the proxy set or remove these headers; without a proxy, do not set app.proxy',
    ),
  ];
}
