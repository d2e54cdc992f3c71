import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { Context } from 'koa';
import { macOf } from '../keys.js';
import type { Cookie } from './cookies.js';
import { clockSkew } from './tokens.js';

/** A browser that has logged in as a user before. */
export interface Device {
  /** The strategy that accepted the user. */
  strategy: string;
  /** Id of the name that the user typed. See `nameId` of `familiar-places.ts`. */
  nameId: string;
  /** Name of the session's user. */
  username: string;
  /** Version of the user at the last login. If the version changes, the cookie becomes invalid. */
  version: string;
  /**
   * When the last login began; Unix milliseconds. A later sign-out everywhere makes the cookie
   * invalid.
   */
  loginAt: number;
  /**
   * The sign-out everywhere before the last login, if their times alone cannot show the order;
   * otherwise 0.
   */
  signOut: number;
  /** 128 random bits. */
  id: string;
  /** When the last session expires, in Unix milliseconds; 0 after a logout. */
  sessionEnd: number;
}

/**
 * Device cookies prove that a browser has logged in as a user before. Attempts of such a browser
 * have a separate limit, so that attempts from elsewhere cannot lock the user out (OWASP, "Slow
 * down online guessing attacks with device cookies").
 */
export interface Devices {
  /**
   * Returns the device of a request if its cookie is authentic and has not expired. The caller must
   * check whether the user is unchanged.
   */
  read(ctx: Context): Device | undefined;
  /**
   * Marks the browser as one of the user. If it is already marked for this user, it keeps its id.
   */
  mark(ctx: Context, user: Omit<Device, 'id'>): void;
  /**
   * Records that the user signed out, so that the login page does not say that the session expired.
   */
  signedOut(ctx: Context): void;
}

const lifetime = 180 * 86_400;

interface DeviceCookie extends Device {
  /** Unix seconds. */
  expires: number;
}

interface DeviceDeps {
  cookie: Cookie;
  /** Returns the keys: the first one signs, and all verify. */
  keys: () => readonly Buffer[];
  /** The path of the login. A cookie is invalid for a login with the same key and another path. */
  audience: string;
  now: () => number;
}

/** Makes the device cookies of a login. */
export function deviceCookies({ cookie, keys, audience, now }: DeviceDeps): Devices {
  const open = (value: string): DeviceCookie | undefined => {
    const [, text, signature] = /^([\w-]{1,2048})\.([\w-]{43})$/.exec(value) ?? [];
    if (text === undefined || signature === undefined) return undefined;
    if (
      !keys().some((key) =>
        timingSafeEqual(Buffer.from(signature), Buffer.from(macOf(key, audience, text))),
      )
    )
      return undefined;
    const device = readFields(JSON.parse(Buffer.from(text, 'base64url').toString()) as Fields);
    if (!device || device.expires * 1000 <= now()) return undefined;
    // A login in the future happened before the clock was set back. Its cookie would otherwise stay
    // valid longer by the length of the jump.
    return device.loginAt <= now() + clockSkew * 1000 ? device : undefined;
  };
  const read = (ctx: Context): DeviceCookie | undefined => {
    const devices = cookie.read(ctx).flatMap((value) => open(value) ?? []);
    return devices.length === 1 ? devices[0] : undefined;
  };
  const write = (ctx: Context, device: DeviceCookie): void => {
    const fields: Fields = [
      ...([device.strategy, device.nameId, device.id, device.sessionEnd, device.expires] as const),
      ...([device.username, device.version, device.loginAt, device.signOut] as const),
    ];
    const text = Buffer.from(JSON.stringify(fields)).toString('base64url');
    cookie.write(
      ctx,
      `${text}.${macOf(keys()[0], audience, text)}`,
      device.expires - Math.floor(now() / 1000),
    );
  };
  return {
    read,
    mark(ctx, user) {
      const before = read(ctx);
      const same = before?.strategy === user.strategy && before.username === user.username;
      const id = same ? before.id : randomBytes(16).toString('base64url');
      write(ctx, { ...user, id, expires: Math.floor(now() / 1000) + lifetime });
    },
    signedOut(ctx) {
      const device = read(ctx);
      // The expiry does not change, because only a login with the right password extends it.
      if (device) write(ctx, { ...device, sessionEnd: 0 });
    },
  };
}

type Fields = [
  strategy: string,
  nameId: string,
  id: string,
  sessionEnd: number,
  expires: number,
  username: string,
  version: string,
  loginAt: number,
  signOut: number,
];

/**
 * Returns the fields, or `undefined` for a cookie of version 0.1. That cookie has no version of the
 * user and is no longer valid.
 */
function readFields(fields: Fields): DeviceCookie | undefined {
  if (fields.length !== 9) return undefined;
  const [strategy, nameId, id, sessionEnd, expires, username, version, loginAt, signOut] = fields;
  return { strategy, nameId, id, sessionEnd, expires, username, version, loginAt, signOut };
}
