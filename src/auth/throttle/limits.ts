import { numberOption, optionsObject } from '../../options.js';

/** Limits of login attempts. Failures count, successes do not. */
export interface ThrottleOptions {
  /**
   * Failures of one account from one network; then each further attempt waits 1 s, doubling to 900
   * s. Default 5.
   */
  pair?: number | undefined;
  /**
   * Failures of one network (an IPv4 address, or an IPv6 network of 64 bits) in ten minutes.
   * Default 30.
   */
  address?: number | undefined;
  /**
   * Failures of one account in an hour; then one attempt in each 30 s. Browsers and networks that
   * have logged in as the user before share an allowance of their own, of the same size. Default
   * 50.
   */
  account?: number | undefined;
  /** Attempts in a second, in this process. Default 20. */
  global?: number | undefined;
  /**
   * Passwords that may wait to be checked, in this process. Each uses its memory only while it is
   * checked. Default 32.
   */
  queue?: number | undefined;
  /**
   * The least seconds that a failed login takes, so that its duration reveals nothing. Default 0.3.
   */
  floor?: number | undefined;
}

/** The checked options. */
export type ThrottleLimits = { readonly [K in keyof Required<ThrottleOptions>]: number };

/** Reads the option `throttle`; `false` leaves only the bound of the queue. */
export function throttleOption(value: ThrottleOptions | false | undefined): ThrottleLimits | false {
  if (value === false) return false;
  const given = optionsObject<ThrottleOptions>('throttle', value, [
    'pair',
    'address',
    'account',
    'global',
    'queue',
    'floor',
  ]);
  const whole = (name: keyof ThrottleOptions, fallback: number): number =>
    numberOption(`throttle.${name}`, given[name], fallback, {
      min: 1,
      max: 1_000_000,
      integer: true,
    });
  return {
    pair: whole('pair', 5),
    address: whole('address', 30),
    account: whole('account', 50),
    global: whole('global', 20),
    queue: whole('queue', defaultQueue),
    floor: numberOption('throttle.floor', given.floor, 0.3, { min: 0, max: 10, unit: 'seconds' }),
  };
}

/**
 * Password checks that may wait if there is no throttle. They are always limited, because each uses
 * memory.
 */
export const defaultQueue = 32;
