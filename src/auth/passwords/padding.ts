import { setTimeout } from 'node:timers/promises';
import type { AuthContext } from '../strategies/strategy.js';
import type { StoredPassword } from './stored-password.js';

/*
 * An unknown name is checked against the costliest hash. A wrong password for a user with a cheap
 * hash would be answered sooner, which would reveal that the user exists. So every failed check is
 * padded to the time of the costliest configured hash. That time depends on the machine and its
 * load, so it is measured: at the start, with every check, and again in the background if the last
 * measurement is old. The padding uses neither the queue of hashes nor a processor.
 */

/** Checks passwords so that the time of a failure does not reveal which hash was checked. */
export interface PaddedChecks {
  /**
   * Whether the password is the stored one. A failure takes as long as a check of the costliest
   * hash. For an unknown name, `stored` is `undefined`: the costliest hash is checked, and the
   * result is `false`.
   */
  matches(
    stored: StoredPassword | undefined,
    password: string,
    context: AuthContext,
  ): Promise<boolean>;
}

/** Milliseconds after which the costliest hash is measured again. */
const fresh = 10_000;

interface Measured {
  ms: number;
  at: number;
}

interface PaddingOptions {
  /** Waits for the given number of milliseconds. */
  wait?: (ms: number, signal: AbortSignal) => Promise<unknown>;
  /** Returns the milliseconds of a clock that is never set back. */
  now?: () => number;
}

const waitFor = (ms: number, signal: AbortSignal): Promise<unknown> =>
  setTimeout(ms, undefined, { signal });

/** Pads the checks of passwords that are configured together. */
export function paddedChecks(
  all: readonly StoredPassword[],
  { wait = waitFor, now = () => performance.now() }: PaddingOptions = {},
): PaddedChecks {
  const costliest = all.reduce((one, other) => (other.cost > one.cost ? other : one));
  const isMixed = all.some(({ format }) => format !== costliest.format);
  /** Measurements by hash format. A configuration has only a few formats. */
  const measured = new Map<string, Measured>();
  let isMeasuring = false;

  const note = (format: string, ms: number): void => {
    const last = measured.get(format)?.ms ?? ms;
    measured.set(format, { ms: last + (ms - last) / 4, at: now() });
  };

  const measure = async (): Promise<void> => {
    if (isMeasuring) return;
    isMeasuring = true;
    try {
      await costliest.matches('', {
        context: 'background',
        onTime: (ms) => note(costliest.format, ms),
      });
    } catch {
      // The next failed check measures again. Until then, the last measurement is used.
    } finally {
      isMeasuring = false;
    }
  };

  /** Milliseconds that a check of the costliest hash takes. */
  const usual = (): number => {
    const last = measured.get(costliest.format);
    if (!last || now() - last.at > fresh) void measure();
    const known = [...measured.values()].map(({ ms }) => ms);
    return Math.max(last ? 0 : costliest.cost, ...known);
  };

  if (isMixed) void measure();

  return {
    async matches(given, password, context) {
      const stored = given ?? costliest;
      const times: number[] = [];
      const onTime = (ms: number): void => {
        times.push(ms);
        note(stored.format, ms);
      };
      const isRight = await stored.matches(password, {
        context,
        onTime: isMixed ? onTime : undefined,
      });
      const same = isRight && given !== undefined;
      if (same || !isMixed) return same;
      const target = usual();
      const missing = times.reduce((sum, ms) => sum + Math.max(0, target - ms), 0);
      if (missing > 0) await wait(missing, context.signal).catch(() => {});
      return same;
    },
  };
}
