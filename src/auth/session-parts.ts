import type { AuthLog } from './auth-log.js';
import type { CheckedAuthOptions } from './auth-options.js';
import { type KeyUse, macOf } from './keys.js';
import { SessionReader } from './sessions/current-session.js';
import { deviceCookies } from './sessions/device-cookies.js';
import { idleRenewal } from './sessions/idle-timeout.js';
import { OpenSessions } from './sessions/open-sessions.js';
import { requestIdentities } from './sessions/request-identity.js';
import { followRevocations } from './sessions/revocations.js';
import { sessionList } from './sessions/session-list.js';
import { createTokens } from './sessions/tokens.js';
import { knownUsers } from './strategies/known-users.js';

interface SessionContext {
  keysFor: (use: KeyUse) => readonly Buffer[];
  log: AuthLog;
  /** Prefix of all keys of this login in the store. */
  prefix: string;
  /** Returns the present time in Unix milliseconds. */
  now: () => number;
}

/** Creates the parts that read, open and end sessions. */
export function sessionParts(
  checked: CheckedAuthOptions,
  { keysFor, log, prefix, now }: SessionContext,
) {
  const { mount, registry, cookies, secretKeys, store } = checked;
  const { tokenExpiry, idleTimeout, maxSessions } = checked;
  const cookie = cookies.session;
  const audience = mount.path;
  const tokens = createTokens({ secretKeys, audience, tokenExpiry, idleTimeout, now });
  const users = knownUsers(registry, keysFor('session version'));
  const revocations = followRevocations({ store, prefix: `${prefix}revoked:`, tokenExpiry, now });
  const sessions = sessionList(store, `${prefix}session:`, now);
  // A random key does not identify the app, so it makes no claim on the store.
  const keys = checked.hasRandomKey ? [] : keysFor('store owner');
  const claimed = store.claim?.(
    mount.path,
    keys.map((key) => macOf(key, mount.path)),
  );
  const ownStore = claimed ?? (() => undefined);
  const renew =
    idleTimeout === undefined
      ? undefined
      : idleRenewal({ tokens, cookie, sessions, log, tokenExpiry, idleTimeout });
  const shared = { tokens, revocations, log };
  const requests = requestIdentities(registry, { users, log });
  const reader = new SessionReader({
    ...shared,
    ...{ cookie, users, sessions, ownStore, renew, requests },
  });
  const open = new OpenSessions({ ...shared, list: sessions, tokenExpiry, maxSessions });
  const device = { cookie: cookies.device, keys: keysFor('device cookie'), audience, now };
  return {
    tokens,
    users,
    revocations,
    sessions,
    ownStore,
    reader,
    requests,
    open,
    devices: deviceCookies(device),
  };
}
