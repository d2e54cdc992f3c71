import {
  type Named,
  number,
  type OptionsOf,
  optionSet,
  type SettingsOf,
  whole,
} from '../../option-set.js';

const count = { min: 1, max: 1_000_000 };

/**
 * Password checks that may wait if there is no throttle. They are always limited, because each uses
 * memory.
 */
export const defaultQueue = 32;

const throttleOptions = optionSet({
  /**
   * Failures of one account from one network; then each further attempt waits 1 s, doubling to 900
   * s. Default 5.
   */
  pair: whole({ default: 5, ...count }),
  /**
   * Failures of one network (an IPv4 address, or an IPv6 network of 64 bits) in ten minutes.
   * Default 30.
   */
  address: whole({ default: 30, ...count }),
  /**
   * Failures of one account in an hour; then one attempt in each 30 s. Browsers and networks that
   * have logged in as the user before share an allowance of their own, of the same size. Default
   * 50.
   */
  account: whole({ default: 50, ...count }),
  /** Attempts in a second, in this process. Default 20. */
  global: whole({ default: 20, ...count }),
  /**
   * Passwords that may wait to be checked, in this process. Each uses its memory only while it is
   * checked. Default 32.
   */
  queue: whole({ default: defaultQueue, ...count }),
  /**
   * The least seconds that a failed login takes, so that its duration reveals nothing. Default 0.3.
   */
  floor: number({ default: 0.3, max: 10, unit: 'seconds' }),
});

/** Limits of login attempts. Failures count, successes do not. */
export interface ThrottleOptions extends OptionsOf<typeof throttleOptions>, Named {}

/** The checked options. */
export type ThrottleLimits = Readonly<SettingsOf<typeof throttleOptions>>;

/** Reads the option `throttle`; `false` leaves only the bound of the queue. */
export function throttleOption(
  name: string,
  value: ThrottleOptions | false | undefined,
): ThrottleLimits | false {
  return value === false ? false : throttleOptions.nested(name, value);
}
