import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { Context } from 'koa';
import type { Cookie } from './cookie.js';
import { macOf } from './keys.js';

/** A browser that has logged in as a user before. */
export interface Device {
  /** The strategy that let the user in. */
  strategy: string;
  /** The account, as the throttle counts it. */
  account: string;
  /** 128 random bits. */
  id: string;
  /** When its last session ends by itself, in Unix milliseconds; 0 after a logout. */
  sessionEnd: number;
}

/**
 * Device cookies: proof that a browser has logged in as a user before. Its tries are counted apart, so that whoever hammers
 * an account cannot lock its owner out (OWASP, "Slow down online guessing attacks with device cookies").
 */
export interface Devices {
  /** The device of a request, if its cookie is one that was made here and has not expired. */
  read(ctx: Context): Device | undefined;
  /** Marks the browser; it keeps its id where it is this user's already. */
  mark(ctx: Context, user: Omit<Device, 'id'>): void;
  /** Notes that the person has signed out, so that nobody is told of a session that expired. */
  signedOut(ctx: Context): void;
}

const lifetime = 180 * 86_400;

/** The device cookies of a login. The first key signs, all verify. */
export function deviceCookies(cookie: Cookie, keys: readonly Buffer[], now: () => number): Devices {
  const read = (ctx: Context): Device | undefined => {
    const devices = cookie.read(ctx).flatMap((value) => open(value, keys, now()) ?? []);
    return devices.length === 1 ? devices[0] : undefined;
  };
  const write = (ctx: Context, { strategy, account, id, sessionEnd }: Device): void => {
    const expires = Math.floor(now() / 1000) + lifetime;
    const text = Buffer.from(JSON.stringify([strategy, account, id, sessionEnd, expires])).toString('base64url');
    cookie.write(ctx, `${text}.${macOf(keys[0], text)}`, lifetime);
  };
  return {
    read,
    mark(ctx, user) {
      const before = read(ctx);
      const same = before?.strategy === user.strategy && before.account === user.account;
      write(ctx, { ...user, id: same ? before.id : randomBytes(16).toString('base64url') });
    },
    signedOut(ctx) {
      const device = read(ctx);
      if (device) write(ctx, { ...device, sessionEnd: 0 });
    },
  };
}

type Fields = [strategy: string, account: string, id: string, sessionEnd: number, expires: number];

function open(value: string, keys: readonly Buffer[], now: number): Device | undefined {
  const [, text, signature] = /^([\w-]{1,2048})\.([\w-]{43})$/.exec(value) ?? [];
  if (text === undefined || signature === undefined) return undefined;
  if (!keys.some((key) => timingSafeEqual(Buffer.from(signature), Buffer.from(macOf(key, text))))) return undefined;
  const [strategy, account, id, sessionEnd, expires] = JSON.parse(Buffer.from(text, 'base64url').toString()) as Fields;
  return expires * 1000 > now ? { strategy, account, id, sessionEnd } : undefined;
}
