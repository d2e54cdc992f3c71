import { createHash, randomBytes, randomInt } from 'node:crypto';
import type { Context } from 'koa';
import type { SharedStore } from '../../store/shared-store.js';
import type { Cipher } from '../cipher.js';
import type { Cookie, Cookies } from '../sessions/cookies.js';
import type { Session } from '../sessions/session.js';
import { clockSkew } from '../sessions/tokens.js';

/*
 * An attempt to sign in at a provider begins with a redirect to the provider and ends with its
 * callback. In between, only the browser keeps it, in an encrypted cookie. So strangers cannot fill
 * the store with attempts. A browser has a fixed number of these cookies, and each new attempt
 * takes a free one, so that attempts in several tabs do not replace each other. Attempts that begin
 * at the same time cannot see each other's cookies. They may take the same cookie, but they never
 * make the headers of the browser too large. A process writes to the store only for a callback that
 * has the cookie of its `state`: the entry says that the attempt was used.
 */

/** An attempt to sign in at a provider. */
export interface Attempt {
  /** The strategy that began the attempt. */
  readonly strategy: string;
  readonly state: string;
  /** What the strategy stored. */
  readonly data: Record<string, string>;
  /** The id of the session that opens if the attempt succeeds. */
  readonly sessionId: string;
  /** The path to which the login redirects. */
  readonly next: string | undefined;
  /**
   * The ids of the sessions that the browser had when the attempt began. The callback may come
   * without their cookie, if it is Strict.
   */
  readonly replaces: readonly string[];
  /** When the attempt began; Unix milliseconds. */
  readonly beganAt: number;
}

/** The attempts to sign in at providers. */
export interface Attempts {
  /** Returns a new attempt, which is not stored yet. */
  create(
    strategy: string,
    next: string | undefined,
    replaces: readonly Pick<Session, 'id'>[],
  ): Attempt;
  /**
   * Stores an attempt in a free cookie of the browser, or replaces the oldest attempt.
   *
   * @throws RangeError if the strategy stored too much data.
   */
  keep(ctx: Context, attempt: Attempt): void;
  /**
   * Returns the attempt of a callback and removes it from the browser. Returns `undefined` if the
   * browser has no such attempt, or if it is too old or of another strategy.
   */
  take(ctx: Context, strategy: string, state: string): Attempt | undefined;
  /** Records the use of an attempt. Resolves to `false` if it was used before. */
  use(attempt: Attempt): Promise<boolean>;
  /** Whether the browser has an attempt that can still succeed. */
  isAnyOpen(ctx: Context): boolean;
}

/** Milliseconds that the user has for signing in at the provider. */
const lifetime = 600_000;
/** Maximum bytes of a cookie. Proxies often limit all headers together to 8 KiB. */
const maxBytes = 1200;
/** Maximum number of sessions that an attempt replaces. A browser has one. */
const maxReplaced = 3;
/** Maximum length of `next`. If `next` is longer, the login redirects to the home page. */
const maxNext = 512;

interface AttemptsDeps {
  cookies: Pick<Cookies, 'attempts'>;
  cipher: Cipher;
  store: Pick<SharedStore, 'replace'>;
  /** Prefix of the keys of used attempts in the store. */
  prefix: string;
  now: () => number;
}

/** The members of an attempt as they are in the cookie. */
type Fields = [
  strategy: string,
  state: string,
  sessionId: string,
  beganAt: number,
  data: Record<string, string>,
  next: string | null,
  replaces: readonly string[],
];

/** Makes the attempts of a login. */
export function redirectAttempts({ cookies, cipher, store, prefix, now }: AttemptsDeps): Attempts {
  /** Returns the attempts of a cookie that can still succeed. */
  const read = (ctx: Context, cookie: Cookie): Attempt[] =>
    cookie.read(ctx).flatMap((value) => {
      const text = cipher.decrypt(value);
      if (text === undefined) return [];
      const [strategy, state, sessionId, beganAt, data, next, replaces] = JSON.parse(
        text,
      ) as Fields;
      const age = now() - beganAt;
      return age > -clockSkew * 1000 && age < lifetime
        ? [{ strategy, state, sessionId, beganAt, data, next: next ?? undefined, replaces }]
        : [];
    });
  const write = (attempt: Attempt): string => {
    const { strategy, state, sessionId, beganAt, data, next = null, replaces } = attempt;
    const fields: Fields = [strategy, state, sessionId, beganAt, data, next, replaces];
    const value = cipher.encrypt(JSON.stringify(fields));
    return value.length <= maxBytes || next === null
      ? value
      : write({ ...attempt, next: undefined });
  };

  return {
    create: (strategy, next, replaces) => ({
      strategy,
      state: randomBytes(32).toString('base64url'),
      data: {},
      sessionId: randomBytes(16).toString('base64url'),
      next: next !== undefined && next.length <= maxNext ? next : undefined,
      replaces: replaces.slice(0, maxReplaced).map(({ id }) => id),
      beganAt: now(),
    }),
    keep(ctx, attempt) {
      const value = write(attempt);
      if (value.length > maxBytes)
        throw new RangeError('begin stored more than 512 bytes in attempt.data');
      // Another host of the domain may have planted attempts, so the newest one of a cookie counts.
      const ages = cookies.attempts.map((cookie) =>
        Math.max(0, ...read(ctx, cookie).map(({ beganAt }) => beganAt)),
      );
      const oldest = Math.min(...ages);
      const usable = cookies.attempts.filter((_cookie, n) => ages[n] === oldest);
      usable[randomInt(usable.length)]?.write(ctx, value, lifetime / 1000);
    },
    take(ctx, strategy, state) {
      for (const cookie of cookies.attempts) {
        const attempt = read(ctx, cookie).find((each) => each.state === state);
        if (!attempt) continue;
        if (attempt.strategy !== strategy) return undefined;
        cookie.clear(ctx);
        return attempt;
      }
      return undefined;
    },
    use({ state }) {
      const key = createHash('sha256').update(state).digest('base64url');
      // A full store may drop the entry, because the provider also accepts each code only once.
      const droppable = { rank: 0, notBefore: 0 };
      return store.replace(prefix + key, undefined, true, (2 * lifetime) / 1000, droppable);
    },
    isAnyOpen: (ctx) => cookies.attempts.some((cookie) => read(ctx, cookie).length > 0),
  };
}
