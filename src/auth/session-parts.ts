import type { AuthLog } from './auth-log.js';
import type { CheckedAuthOptions } from './auth-options.js';
import { createCipher } from './cipher.js';
import { macOf } from './keys.js';
import type { KeyRing } from './secrets/key-ring.js';
import { SessionReader } from './sessions/current-session.js';
import { deviceCookies } from './sessions/device-cookies.js';
import { idleRenewal } from './sessions/idle-timeout.js';
import { OpenSessions } from './sessions/open-sessions.js';
import { requestIdentities } from './sessions/request-identity.js';
import { followRevocations } from './sessions/revocations.js';
import { sessionList } from './sessions/session-list.js';
import { createTokens } from './sessions/tokens.js';
import type { Health } from './strategies/health.js';
import { knownUsers } from './strategies/known-users.js';
import { LastAnswers } from './strategies/last-answers.js';

interface SessionContext {
  keys: KeyRing;
  log: AuthLog;
  health: Health;
  /** Prefix of all keys of this login in the store. */
  prefix: string;
  /** Returns the present time in Unix milliseconds. */
  now: () => number;
}

/** Creates the parts that read, open and end sessions. */
export function sessionParts(
  checked: CheckedAuthOptions,
  { keys, log, health, prefix, now }: SessionContext,
) {
  const { mount, registry, cookies, store } = checked;
  const { tokenExpiry, idleTimeout, maxSessions } = checked;
  const cookie = cookies.session;
  const audience = mount.path;
  const secretKeys = keys.secrets;
  const tokens = createTokens({ secretKeys, audience, tokenExpiry, idleTimeout, now });
  const last = new LastAnswers({
    ...{ registry, store, health, log, tokenExpiry, now, prefix: `${prefix}known:` },
    cipher: createCipher(keys.derived('strategy data'), `${mount.path} known users`),
  });
  const users = knownUsers({ registry, keys: keys.derived('session version'), last });
  const revocations = followRevocations({ store, prefix: `${prefix}revoked:`, tokenExpiry, now });
  const sessions = sessionList({ store, prefix: `${prefix}session:`, tokens, now });
  const ownStore = claimStore(checked, keys);
  const keysReady = keys.ready;
  const renew =
    idleTimeout === undefined
      ? undefined
      : idleRenewal({ tokens, cookie, sessions, log, tokenExpiry, idleTimeout });
  const shared = { tokens, revocations, log };
  const requests = requestIdentities(registry, { users, log, health });
  const reader = new SessionReader({
    ...shared,
    ...{ keysReady, ownStore, cookie, users, sessions, renew, requests, tokenExpiry },
  });
  const open = new OpenSessions({ ...shared, list: sessions, users, tokenExpiry, maxSessions });
  const device = { cookie: cookies.device, keys: keys.derived('device cookie'), audience, now };
  return {
    tokens,
    users,
    revocations,
    sessions,
    usable: () => keysReady()?.then(ownStore) ?? ownStore(),
    reader,
    requests,
    open,
    devices: deviceCookies(device),
  };
}

/** Claims the store of a login for its present keys, and again after each change of the keys. */
function claimStore(
  { store, mount: { path }, hasRandomKey }: CheckedAuthOptions,
  keys: KeyRing,
): () => Promise<void> | undefined {
  const owners = keys.derived('store owner');
  // A random key does not identify the app, so it makes no claim on the store.
  const claim = () =>
    store.claim?.(path, hasRandomKey ? [] : owners().map((key) => macOf(key, path)));
  let check = claim();
  keys.onChange(() => {
    check = claim();
  });
  return () => check?.();
}
