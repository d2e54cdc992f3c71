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
 * Familiar places are browsers and networks that have logged in as a user before. Their attempts
 * have separate limits, so that attempts from elsewhere cannot lock the user out. A browser proves
 * that it is familiar with its device cookie. Scripts have no cookie, so the networks of a user are
 * kept in the store.
 *
 * A place is familiar for one user of one strategy. It stops being familiar if the version of the
 * user changes or all sessions of the user are ended. An attempt belongs to the user if it uses the
 * name exactly as the login did. The limits for unfamiliar places fold similar names into one
 * account. Here, folding would let the user of a similar name, such as `alíce`, use the limits of
 * `alice`.
 */

/** A group of strategies that an attempt asks. The throttle counts the group as one attempt. */
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
  /** When the login began; Unix milliseconds. */
  loginAt: number;
  /**
   * The sign-out everywhere that the login follows, if their times alone cannot show the order;
   * otherwise 0.
   */
  signOut: number;
}

/** The parts of a login attempt that show whether its place is familiar. */
interface PlacedAttempt {
  /** The name as the user typed it. */
  username: string;
  /** The only strategy to ask; `undefined` for all. */
  strategy: string | undefined;
  /** Address of the client. */
  address: string;
  /** The device in the device cookie of the request; `undefined` without a valid cookie. */
  device: Device | undefined;
}

/** Remembers and finds the browsers and networks that have logged in as a user. */
export interface FamiliarPlaces {
  /**
   * Returns the groups by which an attempt is counted, each with the strategies to ask. Familiar
   * groups come first.
   */
  groupsOf(attempt: PlacedAttempt): Promise<readonly AttemptGroup[]>;
  /** Stores the network of a login. If the store fails, the login still succeeds. */
  rememberNetwork(
    attempt: Pick<PlacedAttempt, 'username' | 'address'>,
    user: Verified,
  ): Promise<void>;
}

/** Maximum number of networks for a name. */
const maxNetworks = 20;
const day = 86_400_000;
/** Milliseconds that a network stays familiar after a login. */
const lifetime = 30 * day;
/**
 * A full memory store drops networks before sessions. It drops counts of failed logins before
 * networks, because anonymous clients can add such counts.
 */
const droppable = { rank: Number.MAX_SAFE_INTEGER, notBefore: 0 };
/**
 * Maximum number of attempts to change the networks of a name that other processes change at the
 * same time.
 */
const maxRaces = 10;

interface KnownNetwork extends FamiliarLogin {
  network: string;
}

interface FamiliarDeps {
  store: SharedStore;
  /** Prefix of all keys of familiar networks in the store. */
  prefix: string;
  registry: StrategyRegistry;
  users: Pick<KnownUsers, 'unchanged'>;
  revocations: Pick<Revocations, 'ready' | 'has'>;
  now: () => number;
}

/** Creates the familiar places of a login. */
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
    // A place depends on the user and not on a session, so a logout does not make it unfamiliar.
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
    // The device cookie identifies a browser on any network. The network counts only without a
    // valid cookie.
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
      const names =
        attempt.strategy === undefined ? registry.names('password') : [attempt.strategy];
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
        // The next login stores the network.
      }
    },
  };
}

/** Whether a known network need not be written again. It is written at most once a day. */
function isFresh(known: KnownNetwork, login: KnownNetwork): boolean {
  const same =
    known.username === login.username &&
    known.version === login.version &&
    known.signOut === login.signOut;
  return same && login.loginAt >= known.loginAt && login.loginAt - known.loginAt < day;
}

/**
 * Returns a short form of a typed name that can be part of a key. Names that differ in any
 * character have different ids.
 */
export function nameId(typedName: string): string {
  return createHash('sha256').update(typedName).digest('base64url').slice(0, 22);
}

/**
 * Whether a typed name belongs to the user of a device: the name typed at the login, or the
 * canonical name.
 */
function isNamed(
  { nameId: id, username }: { nameId: string; username: string },
  typedName: string,
): boolean {
  return id === nameId(typedName) || username === typedName;
}

function networksIn(stored: StoreValue | undefined, now: number): KnownNetwork[] {
  return ((stored as unknown as KnownNetwork[] | undefined) ?? []).filter(
    // A login in the future happened before the clock was set back. The network would otherwise
    // stay familiar longer by the length of the jump.
    ({ loginAt }) => now - loginAt < lifetime && loginAt <= now + clockSkew * 1000,
  );
}
