import { createSecureContext, rootCertificates, type TLSSocket } from 'node:tls';
import { certificateFindings, connectUnchecked } from '../certificate.js';
import type { DoctorContext, Finding } from '../command-port.js';
import { fault, ok, warning } from '../finding.js';
import { requestFindings } from './doctor-requests.js';
import { signingAlgorithms } from './logout.js';
import type { OidcSettings } from './options.js';
import type { Provider, ProviderConnection } from './provider.js';

/*
 * What `npx koa-taskflow doctor` says about a provider: the metadata of the provider, compared with
 * the options, and the addresses to register there.
 */

interface DoctorDeps {
  settings: OidcSettings;
  connection: ProviderConnection;
}

/** Looks at a provider, and at the options for it. */
export async function oidcFindings(
  { settings, connection }: DoctorDeps,
  context: DoctorContext,
): Promise<readonly Finding[]> {
  const certificate = await tlsFindings(settings, context);
  const own = [...addressFindings(settings, context), refreshFinding(settings)];
  let provider: Provider;
  try {
    provider = await connection.find();
  } catch (error) {
    const found = error instanceof Error ? error.message : 'the provider does not answer';
    const todo =
      'check whether this host can open the URL of the option issuer, and correct the option';
    return [fault('issuer', found, todo), ...certificate, ...own];
  }
  return [
    issuerFinding(settings, provider),
    ...certificate,
    ...metadataFindings(settings, provider),
    ...(await requestFindings(settings, provider, context)),
    ...own,
  ];
}

function issuerFinding({ issuer: configured }: OidcSettings, { issuer }: Provider): Finding {
  if (issuer === configured) return ok('issuer', `${issuer}, as configured`);
  return ok('issuer', `${issuer}, configured as ${configured}: only the last slash differs`);
}

/** Returns the addresses to register at the provider. */
function addressFindings({ logout }: OidcSettings, { name, urlOf }: DoctorContext): Finding[] {
  const callback = `/auth/callback/${name}`;
  const redirectUri = urlOf(callback);
  if (redirectUri === undefined) {
    const todo = 'set publicUrl in createAuth, or run this command with --url';
    return [warning('redirect URI', `…${callback}, below the URL of each request`, todo)];
  }
  return [
    ok('redirect URI', redirectUri),
    ok('back-channel logout', String(urlOf(`/auth/ended/${name}`))),
    ...(logout ? [ok('post-logout URI', String(urlOf('/auth/signed-out')))] : []),
  ];
}

async function tlsFindings(
  { issuer, ca }: OidcSettings,
  { signal }: DoctorContext,
): Promise<readonly Finding[]> {
  const { protocol, hostname, port } = new URL(issuer);
  if (protocol !== 'https:') return [];
  const host = hostname.replaceAll(/[[\]]/g, '');
  const what = 'certificate';
  let socket: TLSSocket | undefined;
  try {
    const secureContext = ca && createSecureContext({ ca: [...rootCertificates, ...ca] });
    socket = await connectUnchecked({ host, port: Number(port || 443), secureContext }, signal);
    return certificateFindings(socket, { host, option: 'issuer', what });
  } catch {
    // The metadata of the provider cannot be read either, which is a separate fault.
    return [];
  } finally {
    socket?.destroy();
  }
}

const methodNames = { basic: 'client_secret_basic', post: 'client_secret_post' } as const;

function metadataFindings(settings: OidcSettings, provider: Provider): Finding[] {
  return [
    methodFinding(settings, provider),
    algorithmFinding(provider),
    challengeFinding(provider),
    ...(settings.logout ? [logoutFinding(provider)] : []),
    ...scopeFindings(settings, provider),
  ];
}

function methodFinding({ clientAuth }: OidcSettings, { metadata, auth }: Provider): Finding {
  const what = 'client authentication';
  const method = auth === undefined ? 'none' : methodNames[auth];
  const methods = metadata.token_endpoint_auth_methods_supported ?? ['client_secret_basic'];
  const from = clientAuth === undefined ? 'the default' : 'configured';
  const found = `${method} (${from}); the provider accepts ${methods.join(', ')}`;
  if (methods.includes(method)) return ok(what, found);
  return auth === undefined
    ? warning(what, found, 'set clientSecret, or make the app a public client at the provider')
    : fault(what, found, 'leave clientAuth out, or set it to a method that the provider accepts');
}

function algorithmFinding({ metadata }: Provider): Finding {
  const what = 'signing algorithms';
  const algorithms = metadata.id_token_signing_alg_values_supported ?? [];
  const found = algorithms.join(', ') || 'the provider lists none';
  if (algorithms.some((each) => signingAlgorithms.includes(each))) return ok(what, found);
  return fault(what, found, `choose one of ${signingAlgorithms.join(', ')} at the provider`);
}

function challengeFinding({ metadata }: Provider): Finding {
  const challenges = metadata.code_challenge_methods_supported;
  if (challenges === undefined) return ok('PKCE', 'S256; the provider does not list its methods');
  if (challenges.includes('S256')) return ok('PKCE', 'S256');
  const found = `S256, but the provider lists only ${challenges.join(', ')}`;
  return warning('PKCE', found, 'allow S256 at the provider; every sign-in uses it');
}

const noPage = 'ends the session in the app only; the provider has no sign-out page';

function logoutFinding({ metadata }: Provider): Finding {
  const { end_session_endpoint: page, backchannel_logout_supported: isTold } = metadata;
  const found = page === undefined ? noPage : 'also ends the session at the provider';
  return ok('sign-out', isTold === true ? `${found}; back-channel logout is possible` : found);
}

function scopeFindings({ scopes }: OidcSettings, { metadata }: Provider): Finding[] {
  const { scopes_supported: supported } = metadata;
  const unknown = scopes.filter((scope) => supported?.includes(scope) === false);
  if (unknown.length === 0) return [];
  const found = `the provider does not list ${unknown.join(', ')}`;
  const todo = 'remove these scopes if the provider refuses the sign-in with invalid_scope';
  return [warning('scopes', found, todo)];
}

/** Says whether to expect a refresh token. Without it, the app notices changes late. */
export function refreshFinding({ refresh, scopes, issuer, parameters }: OidcSettings): Finding {
  const what = 'refresh token';
  if (refresh === false) return ok(what, 'not used, because refresh is false');
  const isGoogle = new URL(issuer).hostname === 'accounts.google.com';
  const isExpected = isGoogle
    ? parameters.access_type === 'offline'
    : scopes.includes('offline_access');
  if (isExpected) return ok(what, `can be expected; used every ${refresh} s`);
  const found =
    'may be missing; then the app notices changed roles and deleted users at the next login';
  const todo = isGoogle
    ? "set parameters: { access_type: 'offline', prompt: 'consent' }"
    : 'add offline_access to scopes (Keycloak does not need it), or set refresh: false';
  return warning(what, found, todo);
}
