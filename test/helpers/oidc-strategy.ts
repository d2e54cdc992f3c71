import { randomBytes } from 'node:crypto';
import type { Context } from 'koa';
import { createAuth } from '../../src/auth/create-auth.js';
import { type OidcStrategy, oidc } from '../../src/auth/strategies/oidc/oidc.js';
import type { OidcOptions } from '../../src/auth/strategies/oidc/options.js';
import { StrategyRegistry } from '../../src/auth/strategies/registry.js';
import type {
  EndedUser,
  RedirectAttempt,
  RedirectVerdict,
  Strategy,
} from '../../src/auth/strategies/strategy.js';
import { memoryStore } from '../../src/store/memory-store.js';
import type { SharedStore } from '../../src/store/shared-store.js';
import { recordingLogger } from './logs.js';
import { client, PlainBrowser, type TestProvider } from './oidc-provider.js';
import { secretKey } from './passwords.js';

/** The URL of the callback. The tests read it from redirects and never open it. */
export const redirectUri = 'http://127.0.0.1:1/tasks/auth/callback/okta';

interface Attached {
  store?: SharedStore;
  now?: () => number;
  /** More strategies of the login, by name. */
  others?: Readonly<Record<string, Strategy>>;
}

/** A strategy that belongs to a login, without routes: a test calls its methods. */
export interface AttachedOidc {
  strategy: OidcStrategy;
  log: ReturnType<typeof recordingLogger>;
  /** The sessions that the strategy ended. */
  ended: EndedUser[];
  /** Ends sessions as the login does. */
  endSessions(user: EndedUser): Promise<void>;
  /** Begins an attempt. Resolves to the attempt and the URL of the provider. */
  begin(): Promise<{ attempt: RedirectAttempt; url: string }>;
  /** Completes an attempt with the URL of a callback. */
  complete(attempt: RedirectAttempt, callback: URL): Promise<RedirectVerdict>;
  /** Signs in at the provider and completes the attempt. */
  signIn(
    login: string,
    browser?: PlainBrowser,
  ): Promise<Exclude<RedirectVerdict, boolean> & { sessionId: string }>;
}

/** Makes a strategy for a provider and attaches it to a login. */
export function attachOidc(
  provider: TestProvider,
  options: Partial<OidcOptions> = {},
  { store = memoryStore(), now = () => Date.now(), others = {} }: Attached = {},
): AttachedOidc {
  const ended: EndedUser[] = [];
  const log = recordingLogger();
  const strategy = oidc({
    issuer: provider.issuer,
    clientId: client.id,
    clientSecret: client.secret,
    scopes: ['openid', 'profile', 'email', 'groups'],
    roles: { map: { staff: 'viewer', sre: 'operator' } },
    ...options,
  });
  let endSessions = async (_user: EndedUser): Promise<void> => {};
  const observed: OidcStrategy = {
    ...strategy,
    attach(parts) {
      endSessions = parts.endSessions;
      strategy.attach?.({
        ...parts,
        now,
        async endSessions(user) {
          ended.push(user);
          await parts.endSessions(user);
        },
      });
    },
  };
  const strategies = new StrategyRegistry().register('okta', observed);
  for (const [name, other] of Object.entries(others)) strategies.register(name, other);
  createAuth({ strategies, secretKey, store, logger: log.logger });

  const begin: AttachedOidc['begin'] = async () => {
    const attempt: RedirectAttempt = {
      redirectUri,
      state: randomBytes(16).toString('base64url'),
      data: {},
      sessionId: randomBytes(16).toString('base64url'),
      signal: new AbortController().signal,
      ip: '127.0.0.1',
      requestId: 'r1',
    };
    return { attempt, url: await strategy.begin({} as Context, attempt) };
  };
  const complete: AttachedOidc['complete'] = async (attempt, callback) =>
    strategy.complete({ search: callback.search } as Context, attempt);
  return {
    ...{ strategy, log, ended, begin, complete },
    endSessions: (user) => endSessions(user),
    async signIn(login, browser = new PlainBrowser()) {
      const { attempt, url } = await begin();
      const callback = await browser.signIn(url, { login, stop: redirectUri });
      const verdict = await complete(attempt, callback);
      if (typeof verdict === 'boolean') throw new Error('a boolean verdict');
      return { ...verdict, sessionId: attempt.sessionId };
    },
  };
}
