import { createHash } from 'node:crypto';
import { networkOf } from '../../http/client-address.js';
import type { SharedStore, StoreValue } from '../../store/shared-store.js';
import type { Device } from '../sessions/device-cookies.js';
import type { Revocations } from '../sessions/revocations.js';
import { clockSkew } from '../sessions/tokens.js';
import type { KnownUsers } from '../strategies/known-users.js';
import type { StrategyRegistry } from '../strategies/registry.js';
import type { Verified } from '../verify-login.js';
import type { Familiar } from './throttle.js';

/*
 * Browsers and networks that have logged in as a user before are familiar. Their attempts are
 * counted apart from all others, so that attempts from elsewhere cannot lock them out. A browser
 * proves it with its device cookie. The networks of a user are kept in the store, for scripts,
 * which keep no cookie.
 *
 * Both hold for one user of one strategy, until the version of the user changes or all sessions of
 * the user are ended. An attempt belongs to that user if it names the user exactly as the login
 * did. The limits for unfamiliar places fold similar names into one account. Here that would let
 * the user of a similar name, such as `alíce`, share the allowance of `alice`.
 */

/** Strategies that one attempt asks, counted together. */
export interface AttemptGroup {
  strategies: readonly string[];
  familiar: Familiar | undefined;
}

/** The login that made a browser or network familiar. */
interface FamiliarLogin {
  /** Name of the session's user. */
  username: string;
  /** Version of the user, as in the session's token. */
  version: string;
  /** When it began; Unix milliseconds. */
  loginAt: number;
  /** The sign-out everywhere that it follows, if the clock alone cannot show it; otherwise 0. */
  signOut: number;
}

/** What a login attempt says about where it came from. */
interface PlacedAttempt {
  /** As typed. */
  username: string;
  /** The one strategy to ask; `undefined` for all. */
  strategy: string | undefined;
  /** Address of the client. */
  address: string;
  /** What the device cookie of the request says; `undefined` without a valid one. */
  device: Device | undefined;
}

/** Knows which browsers and networks have logged in as which user. */
export interface FamiliarPlaces {
  /**
   * Returns the groups by which an attempt is counted, each with the strategies to ask. Familiar
   * groups come first.
   */
  groupsOf(attempt: PlacedAttempt): Promise<readonly AttemptGroup[]>;
  /** Remembers the network of a login. If the store fails, the login succeeds all the same. */
  rememberNetwork(
    attempt: Pick<PlacedAttempt, 'username' | 'address'>,
    user: Verified,
  ): Promise<void>;
}

/** Networks that are kept of one name. */
const maxNetworks = 20;
const day = 86_400_000;
/** Milliseconds that a network stays familiar after a login. */
const lifetime = 30 * day;
/**
 * A full memory store drops networks before sessions, but after the counts of failed logins, which
 * anonymous clients can add.
 */
const droppable = { rank: Number.MAX_SAFE_INTEGER, notBefore: 0 };
/** Times that other processes may change the networks of a name first before this one gives up. */
const maxRaces = 10;

interface KnownNetwork extends FamiliarLogin {
  network: string;
}

interface FamiliarDeps {
  store: SharedStore;
  /** Of all its keys in the store. */
  prefix: string;
  registry: StrategyRegistry;
  users: Pick<KnownUsers, 'unchanged'>;
  revocations: Pick<Revocations, 'ready' | 'has'>;
  now: () => number;
}

/** The familiar browsers and networks of a login. */
export function familiarPlaces({
  store,
  prefix,
  registry,
  users,
  revocations,
  now,
}: FamiliarDeps): FamiliarPlaces {
  const keyOf = (strategy: string, typedName: string): string =>
    `${prefix}${strategy}:${nameId(typedName)}`;

  const holds = async (
    strategy: string,
    { username, version, loginAt, signOut }: FamiliarLogin,
  ): Promise<boolean> => {
    await revocations.ready();
    // Bound to the user and not to a session: a logout ends nothing of it.
    if (
      revocations.has({ id: '', strategy, username, authenticatedAt: new Date(loginAt) }, signOut)
    )
      return false;
    try {
      return await users.unchanged({ strategy, username }, version);
    } catch {
      // If the strategy cannot say whether the user is unchanged, the attempt counts as unfamiliar.
      return false;
    }
  };

  const familiarOf = async (
    strategy: string,
    { username: typedName, address, device }: PlacedAttempt,
  ): Promise<Familiar | undefined> => {
    if (!registry.get(strategy)) return undefined;
    // A browser is known by its cookie wherever it is; a network only if the browser is not.
    if (
      device?.strategy === strategy &&
      isNamed(device, typedName) &&
      (await holds(strategy, device))
    )
      return { by: 'device', id: device.id, strategy, username: device.username };
    const id = networkOf(address);
    const networks = networksIn(await store.get(keyOf(strategy, typedName)), now());
    const known = networks.find(({ network }) => network === id);
    return known && (await holds(strategy, known))
      ? { by: 'network', id, strategy, username: known.username }
      : undefined;
  };

  return {
    async groupsOf(attempt) {
      const names = attempt.strategy === undefined ? registry.names() : [attempt.strategy];
      const found = await Promise.all(names.map((name) => familiarOf(name, attempt)));
      const familiar = names.flatMap((name, n) =>
        found[n] ? [{ strategies: [name], familiar: found[n] }] : [],
      );
      const others = names.filter((_name, n) => found[n] === undefined);
      return others.length === 0
        ? familiar
        : [...familiar, { strategies: others, familiar: undefined }];
    },
    async rememberNetwork(
      { username: typedName, address },
      { strategy, username, version, signOut, authenticatedAt },
    ) {
      const network = networkOf(address);
      const key = keyOf(strategy, typedName);
      const login: KnownNetwork = {
        network,
        username,
        version,
        signOut,
        loginAt: authenticatedAt.getTime(),
      };
      try {
        for (let race = 0; race < maxRaces; race++) {
          const before = await store.get(key);
          const networks = networksIn(before, now());
          const same = networks.find((each) => each.network === network);
          if (same && isFresh(same, login)) return;
          const others = networks
            .filter((each) => each !== same)
            .sort((one, other) => other.loginAt - one.loginAt);
          const after = [login, ...others].slice(0, maxNetworks).map((each) => ({ ...each }));
          if (await store.replace(key, before, after, lifetime / 1000, droppable)) return;
        }
      } catch {
        // The next login remembers it.
      }
    },
  };
}

/** Whether a network need not be written again: it is written once a day at most. */
function isFresh(known: KnownNetwork, login: KnownNetwork): boolean {
  const same =
    known.username === login.username &&
    known.version === login.version &&
    known.signOut === login.signOut;
  return same && login.loginAt >= known.loginAt && login.loginAt - known.loginAt < day;
}

/**
 * Returns a typed name in a short form that can be a key. Names that differ in any character have
 * different ids.
 */
export function nameId(typedName: string): string {
  return createHash('sha256').update(typedName).digest('base64url').slice(0, 22);
}

/**
 * Whether a typed name is that of the user of a device: the name that was typed at the login, or
 * the canonical one.
 */
function isNamed(
  { nameId: id, username }: { nameId: string; username: string },
  typedName: string,
): boolean {
  return id === nameId(typedName) || username === typedName;
}

function networksIn(stored: StoreValue | undefined, now: number): KnownNetwork[] {
  return ((stored as unknown as KnownNetwork[] | undefined) ?? []).filter(
    // A login of the future was made before the clock was set back. It would otherwise stay
    // familiar longer, by the length of the jump.
    ({ loginAt }) => now - loginAt < lifetime && loginAt <= now + clockSkew * 1000,
  );
}
