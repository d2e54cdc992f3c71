import { X509Certificate } from 'node:crypto';
import {
  flag,
  type Named,
  number,
  type OptionsOf,
  optionSet,
  type SettingsOf,
  seconds,
  text,
} from '../../../option-set.js';
import {
  listOption,
  numberOption,
  outOfRange,
  rangeError,
  tenYears,
  typeError,
  wrongType,
} from '../../../options.js';
import { wrongSecretType } from '../../../secret-options.js';
import { kindOf } from '../../../show-value.js';
import { type FollowedSecret, followSecret } from '../../secrets/followed-secret.js';
import type { Secret } from '../../secrets/secret.js';
import type { RolesRule } from '../roles.js';
import type { ClientAuthMethod } from './provider-errors.js';
import { isLoopback } from './provider-fetch.js';

/** A user as the provider describes them, for a function `roles`. */
export interface OidcUser {
  /** The name of the session's user. */
  readonly username: string;
  /**
   * The claims of the ID token and of the userinfo endpoint. `email` is missing if the provider
   * does not say that it has verified the address.
   */
  readonly claims: Readonly<Record<string, unknown>>;
}

/** Seconds of `timeout`: two requests must fit into the time limit of a strategy. */
const [defaultTimeout, maxTimeout] = [4, 8];

/** Parameters of the authorization request that the strategy sets. */
const ownParameters = [
  ...['client_id', 'redirect_uri', 'response_type', 'response_mode', 'scope', 'state', 'nonce'],
  ...['code_challenge', 'code_challenge_method', 'request', 'request_uri'],
];

const oidcOptions = optionSet({
  /**
   * The issuer of the provider, exactly as its documentation or its discovery document writes it,
   * such as `https://example.okta.com`. An `http:` URL is accepted for loopback only.
   */
  issuer: issuerOption,
  /** The id of the app at the provider. */
  clientId: text(),
  /**
   * The secret of the app at the provider: text, a {@link secretFile}, or a function that returns
   * it, whose changes are followed. Default: none, for a public client. `undefined` is refused,
   * because an environment variable that is not set has this value.
   */
  clientSecret: secretOption,
  /**
   * The claim that holds the name of the user. Default: `preferred_username`, otherwise `email` if
   * the provider has verified it, otherwise `sub`.
   */
  username: text(),
  /**
   * The roles of a user: a list for all users, a table by the texts of a claim (`groups` by
   * default), such as `{ map: { sre: 'operator' } }`, or a function of {@link OidcUser}.
   */
  roles: (_name, value: RolesRule<OidcUser> | undefined) => value,
  /** The scopes that the app requests. Default `['openid', 'profile', 'email']`. */
  scopes: scopesOption,
  /** More parameters of the authorization request, such as `{ access_type: 'offline' }`. */
  parameters: parametersOption,
  /**
   * How the app sends its secret: `basic` in a header or `post` in the body. Default: `basic` if
   * the provider accepts it, otherwise `post`.
   */
  clientAuth: clientAuthOption,
  /**
   * Seconds between two requests to the provider about a signed-in user; from 10 to 86,400. `false`
   * makes none. They need a refresh token. Default 300.
   */
  refresh: refreshOption,
  /**
   * Seconds for which the last answer of the provider about a user holds while it does not answer,
   * at most `tokenExpiry`. Then requests of the user get 503. Default: `tokenExpiry`.
   */
  staleFor: seconds({ default: tenYears, zero: true }),
  /** Whether signing out also signs out at the provider. Default `true`. */
  logout: flag(true),
  /** Certificates of further certificate authorities, as PEM. Default: those of Node alone. */
  ca: caOption,
  /** Seconds that the provider may take for one answer; at most 8. Default 4. */
  timeout: number({ default: defaultTimeout, above: true, max: maxTimeout, unit: 'seconds' }),
  /** The name of the provider on the login page. Default: the name of the strategy. */
  label: text({ maxLength: 100 }),
});

/** Options of `oidc`. */
export interface OidcOptions extends OptionsOf<typeof oidcOptions>, Named {
  issuer: string;
  clientId: string;
  roles: RolesRule<OidcUser>;
}

/** The checked options. `claimsReader` checks `roles`. */
export interface OidcSettings extends SettingsOf<typeof oidcOptions> {
  readonly issuer: string;
  readonly clientId: string;
  readonly roles: RolesRule<OidcUser>;
}

/**
 * Checks the options.
 *
 * @throws TypeError or RangeError for a wrong, unknown or missing option.
 */
export function readOptions(options: OidcOptions): OidcSettings {
  const settings = oidcOptions.read(options, { where: 'oidc', prefix: 'oidc: ' });
  const { issuer, clientId, roles } = settings;
  if (issuer === undefined) throw wrongType('oidc: issuer', issuer, acceptedIssuer);
  if (clientId === undefined)
    throw wrongType('oidc: clientId', clientId, 'the id of the app at the provider');
  if (settings.clientSecret === undefined && 'clientSecret' in options)
    throw typeError(
      'oidc: clientSecret is not set; if it comes from the environment, set that variable. For a ' +
        'public client, leave the option out.',
    );
  if (roles === undefined || roles === null)
    throw typeError(
      `oidc: roles is ${roles}; it must be a list of roles, a table such as ` +
        "{ map: { sre: 'operator' } }, or a function. With ['viewer'], every user of the " +
        'provider can read',
    );
  if (settings.clientAuth !== undefined && settings.clientSecret === undefined)
    throw typeError('oidc: clientAuth needs the option clientSecret');
  return { ...settings, issuer, clientId, roles };
}

const acceptedIssuer = "the https: URL of the provider, such as 'https://example.okta.com'";

function issuerOption(name: string, value: string | undefined): string | undefined {
  const accepted = acceptedIssuer;
  if (value === undefined) return undefined;
  if (typeof value !== 'string') throw wrongType(name, value, accepted);
  const url = URL.canParse(value) ? new URL(value) : undefined;
  // The value is not shown if it could hold a password.
  if (url && (url.username !== '' || url.password !== ''))
    throw typeError(`${name} must be ${accepted}, without a user name and a password`);
  if (!url || !/^https?:$/.test(url.protocol) || /[?#\s]/.test(value) || value.length > 1024)
    throw outOfRange(name, value, accepted);
  if (url.protocol === 'http:' && !isLoopback(url.hostname))
    throw outOfRange(name, value, `${accepted}; http: is accepted for loopback only`);
  if (url.pathname.includes('/.well-known/'))
    throw outOfRange(name, value, `${accepted}, without /.well-known/ and what follows it`);
  if (url.hostname === 'login.microsoftonline.com' && allTenants.test(url.pathname))
    throw outOfRange(
      name,
      value,
      "the URL with the id of your tenant, 'https://login.microsoftonline.com/TENANT-ID/v2.0': " +
        'with this one, users of every tenant could sign in',
    );
  return value;
}

/** The paths of Entra ID that belong to no tenant. */
const allTenants = /^\/(common|organizations|consumers)(\/|$)/i;

function secretOption(name: string, value: Secret | undefined): FollowedSecret<string> | undefined {
  if (value === undefined) return undefined;
  const accepted = 'the secret of the app at the provider';
  return followSecret(value, {
    option: name,
    read(text: unknown) {
      if (typeof text !== 'string')
        throw wrongSecretType(name, text, `${accepted}, a secretFile or a function`);
      if (text.trim() === '') throw rangeError(`${name} is empty; it must be ${accepted}`);
      return text;
    },
  });
}

function scopesOption(name: string, value: readonly string[] | undefined): readonly string[] {
  if (value === undefined) return ['openid', 'profile', 'email'];
  const scopes = listOption(name, value, 'scopes', (scope) => /^[!#-[\]-~]{1,256}$/.test(scope));
  if (!scopes.includes('openid'))
    throw rangeError(`${name} does not contain 'openid', which OpenID Connect requires`);
  return scopes;
}

function parametersOption(
  name: string,
  value: Readonly<Record<string, string>> | undefined,
): Readonly<Record<string, string>> {
  if (value === undefined) return {};
  const accepted = "an object such as { prompt: 'select_account' }";
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw wrongType(name, value, accepted);
  for (const [parameter, text] of Object.entries(value)) {
    if (typeof text !== 'string') throw wrongType(`${name}.${parameter}`, text, 'a string');
    if (ownParameters.includes(parameter))
      throw typeError(`${name}.${parameter} is not accepted: oidc sets this parameter itself`);
  }
  return { ...value };
}

function clientAuthOption(
  name: string,
  value: ClientAuthMethod | undefined,
): ClientAuthMethod | undefined {
  if (value !== undefined && value !== 'basic' && value !== 'post')
    throw wrongType(name, value, "'basic' or 'post'");
  return value;
}

function refreshOption(name: string, value: number | false | undefined): number | false {
  if (value === false) return false;
  return numberOption(name, value, 300, { min: 10, max: 86_400, unit: 'seconds', or: 'false' });
}

type Certificates = string | Buffer | readonly (string | Buffer)[];

function caOption(name: string, value: Certificates | undefined): readonly string[] | undefined {
  if (value === undefined) return undefined;
  const all = (Array.isArray(value) ? value : [value]) as readonly unknown[];
  const accepted = 'a certificate as PEM, such as readFileSync(path), or a list of them';
  if (all.length === 0) throw wrongType(name, [], accepted);
  return all.map((one, index) => {
    const option = Array.isArray(value) ? `${name}[${index}]` : name;
    if (typeof one !== 'string' && !Buffer.isBuffer(one))
      throw typeError(`${option} is ${kindOf(one)}; it must be ${accepted}`);
    try {
      const first = new X509Certificate(one).toString();
      const pem = one.toString();
      // A file may hold several certificates, of which only the first is parsed.
      return pem.includes('-----BEGIN') ? pem : first;
    } catch (cause) {
      const message = `${option} cannot be read as a certificate; it must be ${accepted}`;
      throw typeError(message, { cause });
    }
  });
}
