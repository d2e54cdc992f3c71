import type { DoctorContext, Finding } from '../command-port.js';
import { fault, ok, warning } from '../finding.js';
import type { OidcSettings } from './options.js';
import type { Provider } from './provider.js';
import { clockTolerance, oauthCode, type ProviderError } from './provider-errors.js';
import { authorizationUrl } from './sign-in.js';

/*
 * The requests that `npx koa-taskflow doctor` sends to a provider: those of a sign-in, as far as
 * they are possible without a user.
 */

/** Asks a provider about its keys, its clock, the app, and the redirect URI. */
export async function requestFindings(
  settings: OidcSettings,
  provider: Provider,
  context: DoctorContext,
): Promise<readonly Finding[]> {
  const asked = await Promise.all([
    keyFindings(settings, provider),
    clientFinding(provider, context),
    pageFinding(settings, provider, context),
  ]);
  return asked.flat();
}

/** Reads the keys of the provider. The answer also has the time of the provider. */
async function keyFindings(settings: OidcSettings, provider: Provider): Promise<Finding[]> {
  const what = 'keys';
  const sent = Date.now();
  try {
    const response = await provider.fetch(String(provider.metadata.jwks_uri), requestOf(settings));
    const received = Date.now();
    const { keys } = (await response.json()) as { keys: readonly unknown[] };
    const clock = clockFinding(response.headers, (sent + received) / 2);
    return [ok(what, String(keys.length)), clock];
  } catch {
    const todo = 'let this host open the address of the keys, and try again';
    return [fault(what, 'the keys of the provider cannot be read', todo)];
  }
}

function requestOf({ timeout }: OidcSettings) {
  return { method: 'GET', headers: {}, signal: AbortSignal.timeout(timeout * 1000) };
}

/** Difference of the clocks, in seconds, above which they should be set. */
const clockWarning = 5;

/** Compares the clocks. The header `Date` is exact to a second. A cache adds `Age`. */
function clockFinding(headers: Headers, here: number): Finding {
  const what = 'clock';
  const date = Date.parse(headers.get('Date') ?? '');
  if (Number.isNaN(date)) return ok(what, 'the provider does not send its time');
  const there = date + 500 + Number(headers.get('Age') ?? 0) * 1000;
  const difference = Math.round((there - here) / 1000);
  const seconds = Math.abs(difference);
  if (seconds <= clockWarning)
    return ok(what, `differs by ${seconds} s from the clock of the provider`);
  const found = `the clock of the provider is ${seconds} s ${difference > 0 ? 'ahead' : 'behind'}`;
  const mark = seconds > clockTolerance ? fault : warning;
  return mark(what, found, 'set the clock of this host or of the provider');
}

/** A code that no provider has given. */
const noCode = 'koa-taskflow-doctor';

/**
 * Checks the id and the secret of the app: it sends a code that does not exist.
 * The provider authenticates the app first.
 */
async function clientFinding(provider: Provider, { urlOf, name }: DoctorContext): Promise<Finding> {
  const { client, config, ask, auth } = provider;
  const what = auth === undefined ? 'client id' : 'client id and secret';
  const todo = 'sign in once to check';
  const parameters = {
    code: noCode,
    redirect_uri: urlOf(`/auth/callback/${name}`) ?? 'https://localhost/',
    code_verifier: client.randomPKCECodeVerifier(),
  };
  try {
    await ask(() => client.genericGrantRequest(config, 'authorization_code', parameters));
    return warning(what, 'cannot be checked', todo);
  } catch (error) {
    const { oauth, message = '' } = error as Partial<ProviderError>;
    if (oauth === 'invalid_grant') return ok(what, 'accepted by the token endpoint');
    if (oauth === 'invalid_client' || oauth === 'unauthorized_client')
      return fault(what, message, `copy the ${what} from the page of the app at the provider`);
    return warning(what, `cannot be checked: ${message}`, todo);
  }
}

/** Opens the page of the provider as a browser would, to see whether it knows the redirect URI. */
async function pageFinding(
  settings: OidcSettings,
  provider: Provider,
  { urlOf, name }: DoctorContext,
): Promise<readonly Finding[]> {
  const redirectUri = urlOf(`/auth/callback/${name}`);
  if (redirectUri === undefined) return [];
  const what = 'sign-in page';
  const { client } = provider;
  const url = await authorizationUrl(settings, provider, {
    ...{ redirectUri, state: client.randomState() },
    ...{ nonce: client.randomNonce(), verifier: client.randomPKCECodeVerifier() },
  });
  const { origin, pathname } = new URL(url);
  const page = origin + pathname;
  try {
    const response = await provider.fetch(url, requestOf(settings));
    await response.body?.cancel();
    const { status } = response;
    const error = errorIn(response.headers.get('Location'));
    if (status < 400 && error === undefined) return [ok(what, `${page} accepts the request`)];
    const found = `${page} refuses the request (${error ?? `status ${status}`})`;
    const todo =
      `register ${redirectUri} as a redirect URI of ${settings.clientId}, ` +
      'and check clientId and scopes';
    return [fault(what, found, todo)];
  } catch {
    return [warning(what, `${page} cannot be opened from this host`, 'open it in a browser')];
  }
}

/** Returns the error in a redirect back to the app. */
function errorIn(location: string | null): string | undefined {
  if (location === null || !URL.canParse(location)) return undefined;
  const error = new URL(location).searchParams.get('error');
  return error === null ? undefined : oauthCode(error);
}
