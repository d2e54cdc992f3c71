import type { RedirectStrategy, StrategyParts } from '../strategy.js';
import { claimsReader } from './claims.js';
import { oidcFindings } from './doctor.js';
import { Logout } from './logout.js';
import { type OidcOptions, readOptions } from './options.js';
import { checkPackages } from './packages.js';
import { namePins, type Pins } from './pins.js';
import { ProviderConnection } from './provider.js';
import { Records } from './records.js';
import { UserRefresh } from './refresh.js';
import { beginSignIn, completeSignIn, type SignInDeps } from './sign-in.js';

/** A strategy that signs users in at an OpenID Connect provider. */
export interface OidcStrategy extends RedirectStrategy {
  /**
   * Lets another user of the provider use a name. The first login with a name pins it to that user.
   * Resolves to `false` if the name was not pinned.
   */
  unpin(username: string): Promise<boolean>;
}

/**
 * Makes a strategy that signs users in at an OpenID Connect provider, such as Okta, Entra ID,
 * Google, Keycloak or Authelia. It needs the packages `openid-client` and `jose`. Its redirect URI
 * ends with `/auth/callback/NAME`: NAME is its name in the registry, or `default` without one.
 *
 * @throws TypeError or RangeError for a wrong option. Error if a package is missing.
 * @example
 * ```ts
 * const okta = oidc({
 *   issuer: 'https://example.okta.com',
 *   clientId: process.env.OKTA_CLIENT_ID,
 *   clientSecret: process.env.OKTA_CLIENT_SECRET,
 *   scopes: ['openid', 'profile', 'email', 'groups', 'offline_access'],
 *   roles: { map: { sre: 'operator', support: 'viewer' } },
 *   label: 'Okta',
 * });
 * const strategies = new StrategyRegistry().register('okta', okta);
 * ```
 */
export function oidc(options: OidcOptions): OidcStrategy {
  checkPackages();
  const settings = readOptions(options);
  const reader = claimsReader(settings);
  let attached: Attached | undefined;
  const connection = new ProviderConnection(settings, () => attached?.now() ?? Date.now());
  const own = (): Attached => {
    if (!attached) throw new Error('this strategy is not part of a login; pass it to createAuth');
    return attached;
  };
  return {
    label: settings.label,
    staleFor: settings.staleFor,
    attach(parts) {
      attached = attach(parts, { settings, reader, connection });
      settings.clientSecret?.logTo(parts.logger);
      if (!parts.storeLasts)
        parts.logger.warn(
          {},
          'createAuth has no store, so pinned names of users are lost when this process ends',
        );
    },
    begin: (_ctx, attempt) => beginSignIn(own().signIn, attempt),
    complete: (ctx, attempt) => completeSignIn(own().signIn, ctx, attempt),
    find_user: (username) => own().refresh.find(username),
    logoutUrl: (session) => own().logout.urlFor(session),
    sessionsEnded: (form, context) => own().logout.sessionsEnded(form, context),
    check: async () => void (await connection.find()),
    doctor: (context) => oidcFindings({ settings, connection }, context),
    explain({ claims }) {
      if (claims === undefined)
        throw new Error('a dry run of this strategy needs the claims: --claims claims.json');
      return reader.explain(claims);
    },
    unpin: (username) => own().pins.unpin(username),
  };
}

/** The parts of a strategy that need the store of its login. */
interface Attached {
  now(): number;
  readonly pins: Pins;
  readonly signIn: SignInDeps;
  readonly refresh: UserRefresh;
  readonly logout: Logout;
}

function attach(
  parts: StrategyParts,
  own: Pick<SignInDeps, 'settings' | 'reader' | 'connection'>,
): Attached {
  const shared = { ...own, records: new Records(parts), parts };
  const pins = namePins(parts);
  const { refresh, clientId, logout } = own.settings;
  return {
    now: parts.now,
    pins,
    signIn: { ...shared, pins },
    refresh: new UserRefresh({ ...shared, refresh }),
    logout: new Logout({ ...shared, clientId, logout, nameOf: pins.nameOf }),
  };
}
