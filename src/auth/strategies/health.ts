import type { StrategyHealth } from '../../http/access.js';
import { errorFields } from '../../http/error-fields.js';
import type { Logger } from '../../options.js';
import type { SharedStore, StoreValue } from '../../store/shared-store.js';
import type { StrategyRegistry } from './registry.js';
import { kindsOf } from './strategy.js';

/*
 * A strategy is up if it last answered, and down if it last failed: at a login, when it identified
 * a request or was asked about signed-in users, or when its `check` was called. A failure for one
 * signed-in user does not count. Failures for several users in a row count. The state is in the
 * store, so that all processes show the same state. No timer runs: a check is due if the health is
 * requested and the last answer is older than a minute. A lease in the store makes one process
 * check at a time.
 */

/** Follows which strategies of a login answer. */
export interface Health {
  /** Records that a strategy accepted or rejected a user, or answered who a user is. */
  answered(strategy: string, outcome: 'login' | 'rejected' | 'found'): void;
  /**
   * Records that a strategy failed. The shown error contains none of the `secrets`, which the
   * client sent.
   */
  failed(strategy: string, error: unknown, secrets: readonly string[]): void;
  /** Counts a further failure of a strategy without changing its state. */
  failedAgain(strategy: string): void;
  /** Returns the health of all strategies. Calls the checks that are due and waits for them. */
  all(): Promise<readonly StrategyHealth[]>;
  /** Calls the check of a strategy now, unless one is running, and returns the health. */
  check(strategy: string): Promise<StrategyHealth | undefined>;
  /**
   * Returns since when strategies are down, without waiting for a check that is due. Returns an
   * empty list if the store does not answer.
   */
  down(): Promise<readonly DownStrategy[]>;
}

/** A strategy that does not answer. */
export interface DownStrategy {
  name: string;
  since: Date;
}

interface HealthDeps {
  registry: Pick<StrategyRegistry, 'get' | 'names' | 'call'>;
  store: Pick<SharedStore, 'get' | 'set' | 'replace'>;
  /** Prefix of the keys of the states in the store. */
  prefix: string;
  logger: Logger;
  /** The path of the login, for the log. */
  mount: string;
  /** The errors that are shown contain none of these texts. */
  secretKeys: () => readonly string[];
  now: () => number;
}

/** A state as it is stored. */
interface State {
  state: 'up' | 'down';
  /** When the state began. All times are Unix milliseconds. */
  since: number;
  /** When the strategy last confirmed it. */
  at: number;
  /** The message of the failure that ended the last state `up`. */
  error?: string;
}

/** Milliseconds after which a check is due again. */
const interval = 60_000;
/** Seconds that a process has for a check before another process may check. */
const lease = 20;
/** Seconds that a state is kept without an answer. */
const kept = 30 * 86_400;

/** Makes the health of the strategies of a login. */
export function strategyHealth(deps: HealthDeps): Health {
  const { registry, store, prefix, logger, mount, secretKeys, now } = deps;
  const counts = new Map<string, { logins: number; rejected: number; errors: number }>();
  const countsOf = (name: string) => {
    const found = counts.get(name) ?? { logins: 0, rejected: 0, errors: 0 };
    counts.set(name, found);
    return found;
  };
  /** The last state that this process stored, so that most answers need no call to the store. */
  const stored = new Map<string, State>();

  const read = async (name: string): Promise<State | undefined> =>
    stateOf(await store.get(prefix + name));

  /** Whether this process has just stored this state. */
  const isStored = (name: string, state: State['state']): boolean => {
    const last = stored.get(name);
    return last?.state === state && now() - last.at < interval / 2;
  };
  /** Stores a state, and logs it if it differs from the last one. */
  const set = async (name: string, state: State['state'], error?: string): Promise<void> => {
    if (isStored(name, state)) return;
    const value = await store.get(prefix + name);
    const last = stateOf(value);
    const isSame = last?.state === state;
    const next: State = {
      state,
      since: isSame ? last.since : now(),
      at: now(),
      ...(error !== undefined && { error }),
    };
    if (!(await store.replace(prefix + name, value, { ...next }, kept))) return;
    stored.set(name, next);
    const fields = { strategy: name, mount, state };
    if (state === 'down' && !isSame)
      logger.error({ event: 'authn_strategy_state', ...fields, error }, 'login strategy is down');
    else if (state === 'up' && last?.state === 'down')
      logger.info({ event: 'authn_strategy_state', ...fields }, 'login strategy is up again');
  };
  /** Stores a state in the background. If the store fails, the next answer stores it. */
  const note = (name: string, state: State['state'], error?: string): void => {
    // Request strategies answer every request, so most answers must cost nothing.
    if (!isStored(name, state)) set(name, state, error).catch(() => {});
  };
  const textOf = (error: unknown, secrets: readonly string[] = []): string => {
    const fields: { message?: string; name?: string } = errorFields(error, [
      ...secrets,
      ...secretKeys(),
    ]);
    return (fields.message ?? fields.name ?? 'unknown error').slice(0, 300);
  };

  /** Calls the check of a strategy, if no process is calling it. */
  const run = async (name: string): Promise<void> => {
    const strategy = registry.get(name);
    const key = `${prefix}lease:${name}`;
    if (!strategy?.check || !(await store.replace(key, undefined, true, lease))) return;
    try {
      await registry.call(strategy, (signal) => strategy.check?.(signal));
      await set(name, 'up');
    } catch (error) {
      await set(name, 'down', textOf(error));
    } finally {
      await store.replace(key, true, undefined, lease).catch(() => {});
    }
  };
  const isDue = (state: State | undefined): boolean => !state || now() - state.at >= interval;

  const healthOf = (name: string, state: State | undefined): StrategyHealth => {
    const strategy = registry.get(name);
    return {
      name,
      label: strategy?.label ?? name,
      kind: (strategy && kindsOf(strategy)[0]) ?? 'password',
      state: state?.state ?? 'unknown',
      since: state ? new Date(state.since) : null,
      answeredAt: state ? new Date(state.at) : null,
      lastError: state?.error ?? null,
      isChecked: strategy?.check !== undefined,
      ...countsOf(name),
    };
  };

  return {
    answered(name, outcome) {
      if (outcome !== 'found') countsOf(name)[outcome === 'login' ? 'logins' : 'rejected'] += 1;
      note(name, 'up');
    },
    failed(name, error, secrets) {
      countsOf(name).errors += 1;
      note(name, 'down', textOf(error, secrets));
    },
    failedAgain(name) {
      countsOf(name).errors += 1;
    },
    all: () =>
      Promise.all(
        registry.names().map(async (name) => {
          let state = await read(name);
          if (isDue(state) && registry.get(name)?.check) {
            await run(name);
            state = await read(name);
          }
          return healthOf(name, state);
        }),
      ),
    async check(name) {
      if (!registry.get(name)) return undefined;
      await run(name);
      return healthOf(name, await read(name));
    },
    async down() {
      try {
        const found = await Promise.all(
          registry.names().map(async (name) => {
            if (!registry.get(name)?.check) return [];
            const state = await read(name);
            if (isDue(state)) run(name).catch(() => {});
            return state?.state === 'down' ? [{ name, since: new Date(state.since) }] : [];
          }),
        );
        return found.flat();
      } catch {
        return [];
      }
    },
  };
}

/** Checks a state that was read from the store. */
function stateOf(value: StoreValue | undefined): State | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { state, since, at, error } = value as Partial<Record<keyof State, unknown>>;
  if ((state !== 'up' && state !== 'down') || typeof since !== 'number' || typeof at !== 'number')
    return undefined;
  return { state, since, at, ...(typeof error === 'string' && { error }) };
}
