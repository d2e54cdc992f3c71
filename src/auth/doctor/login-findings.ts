import type { CheckedAuthOptions } from '../auth-options.js';
import { isLoopback } from '../redirects/public-url.js';
import type { Finding } from '../strategies/command-port.js';
import { fault, ok, warning } from '../strategies/finding.js';

/** The options of a login that `doctor` looks at. */
type InspectedOptions = Pick<
  CheckedAuthOptions,
  'cookie' | 'hasOwnStore' | 'hasRandomKey' | 'keySources' | 'limits' | 'publicUrl' | 'store'
>;

/** Looks at the options of a login. */
export async function loginFindings(options: InspectedOptions): Promise<readonly Finding[]> {
  return [
    await keyFinding(options),
    await storeFinding(options),
    cookieFinding(options),
    urlFinding(options),
    ...(options.limits ? [] : [noLimits]),
  ];
}

const noLimits = warning(
  'throttle',
  'nothing limits how often a client can guess passwords',
  'remove throttle: false from createAuth',
);

async function keyFinding({ hasRandomKey, keySources }: InspectedOptions): Promise<Finding> {
  const what = 'secretKey';
  if (hasRandomKey)
    return warning(
      what,
      'each process makes a random key, so a restart ends all sessions',
      'set secretKey in createAuth to the output of: openssl rand -hex 32',
    );
  try {
    const keys = (await Promise.all(keySources.map((source) => source.get()))).flat();
    return ok(what, `keys: ${keys.length}`);
  } catch (error) {
    const found = error instanceof Error ? error.message : 'cannot be read';
    return fault(what, found, 'correct the file or the function of the key');
  }
}

async function storeFinding({ hasOwnStore, store }: InspectedOptions): Promise<Finding> {
  const what = 'store';
  if (hasOwnStore)
    return warning(
      what,
      'not set: sessions and pinned names are in the memory of each process, and end with it',
      'set store in createAuth, such as store: tasks.store',
    );
  const started = performance.now();
  try {
    await store.get('doctor');
  } catch {
    const todo = 'start the database or Redis of the store, and check its address';
    return fault(what, 'does not answer', todo);
  }
  return ok(what, `answers after ${Math.ceil(performance.now() - started)} ms`);
}

function cookieFinding({ cookie }: InspectedOptions): Finding {
  const { secure, sameSite, domain } = cookie;
  const what = 'cookie';
  const found = `secure: ${secure}, sameSite: ${sameSite}`;
  if (secure === false)
    return fault(
      what,
      `${found}: browsers send the session over plain HTTP`,
      "remove secure: false; with 'auto', the cookie is Secure over HTTPS",
    );
  if (domain !== undefined)
    return warning(
      what,
      `${found}: every subdomain of ${domain} gets the session`,
      'remove cookie.domain if the subdomains do not need it',
    );
  return ok(what, found);
}

function urlFinding({ publicUrl }: InspectedOptions): Finding {
  const what = 'publicUrl';
  if (publicUrl === undefined) return ok(what, 'not set: the app uses the URL of each request');
  if (publicUrl.startsWith('http:') && !isLoopback(new URL(publicUrl).hostname))
    return fault(
      what,
      `${publicUrl} is not encrypted`,
      'serve the app over HTTPS, and write https: in publicUrl',
    );
  return ok(what, publicUrl);
}
