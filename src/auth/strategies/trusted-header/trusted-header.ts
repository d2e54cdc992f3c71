import { createHash, timingSafeEqual } from 'node:crypto';
import type { Context } from 'koa';
import type { Role } from '../../../http/access.js';
import { type Named, type OptionsOf, optionSet, text } from '../../../option-set.js';
import { type Logger, rangeError, typeError } from '../../../options.js';
import { wrongSecret } from '../../../secret-options.js';
import { LogLimit } from '../../log-limit.js';
import { type FollowedSecret, followSecret } from '../../secrets/followed-secret.js';
import type { Secret } from '../../secrets/secret.js';
import type { Finding } from '../command-port.js';
import { ok, warning } from '../finding.js';
import { type RolesRule, rolesRule } from '../roles.js';
import type { Rejected, RequestStrategy, Verdict } from '../strategy.js';
import { isUserName } from '../user-fields.js';
import { headerOption, readHeader, textOf, trimmed } from './headers.js';
import { peersOption } from './peers.js';

/*
 * A proxy such as nginx, Caddy or oauth2-proxy signs users in and adds their name to each request
 * as a header. Clients can send the same header, so these rules apply:
 *
 * - The header counts only if the other end of the connection is a configured proxy, and if the
 *   request has the secret of the proxy, if one is configured. Otherwise, it is ignored.
 * - If the proxy did not remove the header of the client, the user is not certain. The request is
 *   then anonymous, whatever its cookie says.
 */

/** A user as the proxy describes it, for a function as `roles`. */
export interface ProxyUser {
  username: string;
  /** The groups of the header `groups`. */
  groups: readonly string[];
}

const groupsOptions = optionSet({
  /** The header with the groups of the user, such as `Remote-Groups`. Required. */
  header: (name, value: string | undefined) => headerOption(name, value),
  /** What separates the groups. The names of an LDAP directory contain commas. Default `,`. */
  separator: text({ default: ',', maxLength: 8 }),
});

const secretOptions = optionSet({
  /** The header in which the proxy sends the secret, such as `X-Proxy-Secret`. Required. */
  header: (name, value: string | undefined) => headerOption(name, value),
  /**
   * The secret: at least 16 characters of ASCII, as text, a {@link secretFile}, or a function that
   * returns it. A file or a function may give several secrets, one per line. Each of them is
   * accepted. Required.
   */
  value: (name, value: Secret | undefined) => digestsOption(name, value),
});

const headerOptions = optionSet({
  /**
   * The addresses of the proxies whose header counts: IPv4 and IPv6 addresses, ranges such as
   * `10.1.0.0/24`, and `unix` for a Unix socket. Required.
   */
  proxies: (name, value: readonly string[] | undefined) => peersOption(name, value),
  /** The header with the name of the user. Default `Remote-User`. */
  header: (name, value: string | undefined) => headerOption(name, value ?? 'Remote-User'),
  /** The header with the groups of the user, for a table or a function as `roles`. */
  groups: (name, value: GroupsHeader | undefined) =>
    value === undefined ? undefined : groupsOptions.nested(name, value),
  /** Which roles the users have. Default `[]`: they may only read. */
  roles: (name, value: RolesRule<ProxyUser> | undefined) =>
    rolesRule(name, value, { from: 'groups', lists: ['groups'] }),
  /** A secret that the proxy adds to each request. A request without it is not trusted. */
  secret: (name, value: ProxySecret | undefined) =>
    value === undefined ? undefined : secretOptions.nested(name, value),
  /** The URL at which users sign out of the proxy, such as `/oauth2/sign_out`. */
  logoutUrl: text({
    maxLength: 2048,
    pattern: /^(https?:\/\/[!-~]+|\/(?!\/)[!-~]*)$/,
    accepted: "a path or an http(s) URL, such as '/oauth2/sign_out'",
  }),
});

/** The header with the groups of a user. */
export interface GroupsHeader extends OptionsOf<typeof groupsOptions>, Named {
  header: string;
}

/** The secret by which requests of the proxy are recognized. */
export interface ProxySecret extends OptionsOf<typeof secretOptions>, Named {
  header: string;
  value: Secret | undefined;
}

/** Options of {@link trustedHeader}. */
export interface TrustedHeaderOptions extends OptionsOf<typeof headerOptions>, Named {
  proxies: readonly string[];
}

type Settings = ReturnType<typeof headerOptions.read>;

/**
 * Makes a strategy that trusts a proxy: the proxy signs users in and adds their name to each
 * request as a header. It creates no session, and the user of the header takes precedence over the
 * cookie.
 *
 * @throws TypeError or RangeError if an option is missing or wrong.
 * @example
 * ```ts
 * const strategies = new StrategyRegistry().register(
 *   'proxy',
 *   trustedHeader({
 *     proxies: ['127.0.0.1'],
 *     header: 'Remote-User',
 *     groups: { header: 'Remote-Groups' },
 *     roles: { map: { sre: 'operator' } },
 *   }),
 * );
 * app.use(taskAdmin(tasks, { auth: createAuth({ strategies, secretKey }) }));
 * ```
 */
export function trustedHeader(options: TrustedHeaderOptions): RequestStrategy {
  const settings = headerOptions.read(options, {
    ...{ where: 'trustedHeader', prefix: 'trustedHeader: ' },
  });
  const { proxies, header, groups, secret, logoutUrl } = settings;
  const names = [header, groups?.header, secret?.header].filter((name) => name !== undefined);
  if (new Set(names).size < names.length)
    throw rangeError(
      'trustedHeader: header, groups.header and secret.header must be different headers',
    );
  const { roles } = options;
  if (typeof roles === 'object' && !Array.isArray(roles) && !groups)
    throw typeError(
      'trustedHeader: roles.map needs groups.header, the header with the groups of a user; ' +
        'without it, no row could match',
    );
  const lines = new LogLimit();
  let logger: Logger | undefined;

  /** Logs why the header does not count. */
  const ignore = (ctx: Context, reason: string, message: string): undefined => {
    const peer = ctx.req.socket.remoteAddress ?? 'unknown';
    if (lines.isDue(reason))
      logger?.warn({ event: 'authn_header_ignored', reason, header, peer }, message);
    return undefined;
  };

  return {
    ambient: true,
    logoutUrl,
    doctor: () => headerFindings(settings),
    attach(parts) {
      logger = parts.logger;
      secret?.value.logTo(parts.logger);
      if (proxies.wide.length > 0 && !secret)
        logger.warn(
          { event: 'sys_startup', proxies: proxies.wide },
          'each host of a wide range in proxies can sign in as any user; name the proxies or set ' +
            'a secret',
        );
    },
    authenticate_request(ctx) {
      const sent = readHeader(ctx.req, header);
      if (sent.found === 'none') return undefined;
      if (!proxies.has(ctx.req.socket))
        return ignore(ctx, 'untrusted_peer', 'identity header from a peer that is not in proxies');
      const decide = (digests?: readonly Buffer[]): Answer =>
        secret && !hasSecret(ctx, secret.header, digests)
          ? ignore(ctx, 'wrong_secret', 'identity header without the secret of the proxy')
          : verdictOf(ctx, settings);
      const digests = secret?.value.get();
      return digests instanceof Promise ? digests.then(decide) : decide(digests);
    },
  };
}

function headerFindings({ proxies, header, groups, secret, logoutUrl }: Settings): Finding[] {
  const isOpen = proxies.wide.length > 0 && !secret;
  const what = 'trusted peers';
  const found = proxies.texts.join(', ') + (secret ? ', with a secret of the proxy' : '');
  const headers = groups ? `${header}, groups in ${groups.header}` : header;
  return [
    ok('header', headers),
    isOpen
      ? warning(what, found, 'name the proxies instead of a wide range, or set secret')
      : ok(what, found),
    ok('sign-out', logoutUrl ?? 'the proxy decides, because logoutUrl is not set'),
  ];
}

type Answer = ReturnType<RequestStrategy['authenticate_request']>;

/** Reads the user of a request of a proxy. */
function verdictOf(ctx: Context, settings: Settings): Answer {
  const { header, groups, roles } = settings;
  const username = readText(ctx, header);
  if (typeof username !== 'string') return username;
  if (username === '') return undefined;
  if (!isUserName(username) || username.includes(',') || isPlaceholder(username))
    return rejected('invalid_header');
  const list = groups ? readText(ctx, groups.header) : '';
  if (typeof list !== 'string') return list;
  const found = list
    .split(groups?.separator ?? ',')
    .map(trimmed)
    .filter((name) => name !== '');
  const user: ProxyUser = { username, groups: found };
  const accept = (given: readonly Role[] | false): Verdict =>
    given === false ? rejected('no_role') : { ok: true, username, roles: given };
  const given = roles({ user, listOf: () => user.groups });
  return given instanceof Promise ? given.then(accept) : accept(given);
}

/**
 * Whether a name is a placeholder of the proxy's configuration. Caddy before 2.9 sends it as it is
 * if the login accepts a request without naming a user.
 */
function isPlaceholder(name: string): boolean {
  return name.startsWith('{') && name.endsWith('}');
}

/** Returns the text of a header. A missing header is empty. An ambiguous one gives a verdict. */
function readText(ctx: Context, name: string): string | Rejected {
  const sent = readHeader(ctx.req, name);
  if (sent.found === 'several') return rejected('ambiguous_header');
  if (sent.found === 'none') return '';
  return textOf(sent.value) ?? rejected('invalid_header');
}

function rejected(reason: string): Rejected {
  return { ok: false, reason };
}

function hasSecret(ctx: Context, header: string, digests: readonly Buffer[] = []): boolean {
  const sent = readHeader(ctx.req, header);
  if (sent.found !== 'one') return false;
  const digest = digestOf(sent.value);
  return digests.some((each) => timingSafeEqual(digest, each));
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** Reads secrets, of which only the digests are kept. */
function digestsOption(
  option: string,
  value: Secret | undefined,
): FollowedSecret<readonly Buffer[]> {
  const read = (text: unknown): Buffer => {
    if (text === undefined)
      throw typeError(`${option} is not set; if it comes from the environment, set that variable`);
    if (typeof text !== 'string' || !/^[!-~]{16,1024}$/.test(text))
      throw wrongSecret(
        option,
        'at least 16 printable ASCII characters without spaces, such as the output of: openssl ' +
          'rand -hex 24',
        typeof text === 'string' ? RangeError : TypeError,
      );
    return digestOf(text);
  };
  return followSecret(value, {
    option,
    read: (text, isFollowed) =>
      isFollowed ? text.split(/\r?\n/).filter(Boolean).map(read) : [read(text)],
  });
}
