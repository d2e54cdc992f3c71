import { createHash } from 'node:crypto';
import type { Context } from 'koa';
import { type Named, type OptionsOf, optionSet, type SettingsOf, text } from '../../option-set.js';
import { booleanOption, rangeError, wrongType } from '../../options.js';

const sameSiteNames = { strict: 'Strict', lax: 'Lax', none: 'None' } as const;
type SameSite = keyof typeof sameSiteNames;

/** The options of the cookies. */
export const cookieOptions = optionSet({
  /**
   * Name of the cookie. Default `taskflow_token`, followed by a hash of the path if that is not
   * `/tasks`.
   */
  name: text({
    pattern: /^(?!__(Host|Secure)-)[\w.-]{1,64}$/i,
    accepted:
      "up to 64 letters, digits, '_', '.' or '-', without the prefix __Host- (which is added)",
  }),
  /**
   * Whether the cookie is sent over HTTPS only. Default `'auto'`: if the request came over HTTPS
   * (see `app.proxy`).
   */
  secure: (name, value: boolean | 'auto' = 'auto'): boolean | 'auto' =>
    value === 'auto' ? value : booleanOption(name, value, true),
  /** Default `'lax'`. `'none'` needs `secure: true`. */
  sameSite: (name, value: SameSite = 'lax'): SameSite => {
    if (!Object.hasOwn(sameSiteNames, value))
      throw wrongType(name, value, "'strict', 'lax' or 'none'");
    return value;
  },
  /**
   * Shares the cookie with the subdomains of this domain. Default: the cookie is sent to this host
   * only.
   */
  domain: text({ pattern: /^[a-z0-9.-]+$/i, accepted: 'a host name' }),
});

/** Name and attributes of the session cookie. */
export interface CookieOptions extends OptionsOf<typeof cookieOptions>, Named {}

/** One cookie of a login. */
export interface Cookie {
  /** Its name without the prefix `__Host-`. */
  readonly bareName: string;
  /** Returns its name in the response to this request. */
  nameFor(ctx: Context): string;
  /**
   * Returns all values that the browser sent under the name, each once. Another host of the domain
   * may have planted some of them.
   */
  read(ctx: Context): readonly string[];
  /** Sets the cookie for that many seconds, rounded up. */
  write(ctx: Context, value: string, seconds: number): void;
  clear(ctx: Context): void;
}

/** The cookies of a login. */
export interface Cookies {
  session: Cookie;
  /** Says that this browser has logged in before. Outlives sessions. */
  device: Cookie;
  /** The cookies of attempts to sign in at a provider. Each has room for one attempt. */
  attempts: readonly Cookie[];
  /** Where a logout continues: the address at which the user signs out at the provider. */
  logout: Cookie;
}

/** Bytes of name and value that every browser keeps (RFC 6265bis section 5.6). */
export const maxCookieBytes = 4096;

/** Maximum number of attempts to sign in at a provider that a browser keeps. */
const maxAttempts = 5;

/**
 * Makes the cookies of a login. The prefix `__Host-` binds a Secure cookie to this host (RFC
 * 6265bis).
 */
export function loginCookies(
  path: string,
  { name = defaultName(path), secure, sameSite, domain }: SettingsOf<typeof cookieOptions>,
): Cookies {
  if (sameSite === 'none' && secure !== true)
    throw rangeError(
      "cookie.sameSite 'none' needs cookie.secure: true; browsers refuse it otherwise",
    );

  const isSecure = (ctx: Context): boolean => (secure === 'auto' ? ctx.secure : secure);

  const named = (bareName: string, attributes: Attributes): Cookie => {
    const { sameSite, domain } = attributes;
    const line = (cookieName: string, value: string, maxAge: number, isSecurely: boolean): string =>
      `${cookieName}=${value}; Path=/; Max-Age=${maxAge}; HttpOnly; ` +
      `SameSite=${sameSiteNames[sameSite]}${isSecurely ? '; Secure' : ''}` +
      (domain === undefined ? '' : `; Domain=${domain}`);
    const fullName = (isSecurely: boolean): string =>
      isSecurely && domain === undefined ? `__Host-${bareName}` : bareName;
    return {
      bareName,
      nameFor: (ctx) => fullName(isSecure(ctx)),
      read: (ctx) => valuesOf(ctx.get('Cookie'), fullName(isSecure(ctx))),
      // Koa's own cookies refuse a Secure cookie over plain HTTP, even behind a proxy that ends
      // TLS.
      write: (ctx, value, seconds) => {
        const cookieName = fullName(isSecure(ctx));
        if (cookieName.length + value.length > maxCookieBytes)
          throw new Error(
            `a cookie of ${cookieName.length + value.length} bytes would be dropped by browsers`,
          );
        ctx.append('Set-Cookie', line(cookieName, value, Math.ceil(seconds), isSecure(ctx)));
      },
      clear: (ctx) => {
        ctx.append('Set-Cookie', line(fullName(false), '', 0, isSecure(ctx)));
        if (domain === undefined) ctx.append('Set-Cookie', line(fullName(true), '', 0, true));
      },
    };
  };
  const shared = { sameSite, domain };
  // A provider sends the browser back from another site, so these cookies cannot be Strict.
  const own = { sameSite: 'lax', domain: undefined } as const;
  return {
    session: named(name, shared),
    device: named(`${name}_device`, shared),
    attempts: Array.from({ length: maxAttempts }, (_, n) => named(`${name}_attempt_${n}`, own)),
    logout: named(`${name}_logout`, own),
  };
}

interface Attributes {
  sameSite: SameSite;
  domain: string | undefined;
}

function defaultName(path: string): string {
  if (path === '/tasks') return 'taskflow_token';
  return `taskflow_token_${createHash('sha256').update(path).digest('hex').slice(0, 8)}`;
}

/**
 * Returns all values of a cookie: if only the first few counted, planted values could hide the
 * right one. Each may cost a signature of 2.4 microseconds, and the 16 KiB of headers that Node
 * accepts have room for about a hundred.
 */
function valuesOf(header: string, name: string): readonly string[] {
  if (!header.includes(name)) return [];
  const values = new Set<string>();
  for (const part of header.split(';')) {
    const equals = part.indexOf('=');
    if (equals > 0 && part.slice(0, equals).trim() === name)
      values.add(part.slice(equals + 1).trim());
  }
  return [...values];
}
