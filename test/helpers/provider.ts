import type { RedirectStrategy, RedirectVerdict } from '../../src/auth/strategies/strategy.js';

/** A redirecting strategy whose provider is a page that nobody serves. */
export interface TestProvider extends RedirectStrategy {
  /** The answer of the next callbacks. */
  verdict: RedirectVerdict | PromiseLike<RedirectVerdict>;
  /** The callback URLs that `begin` was given. */
  readonly redirectUris: string[];
}

/**
 * Makes a redirecting strategy for tests of the routes. `begin` stores a text that `complete`
 * expects. The callback accepts the code `right`.
 */
export function testProvider(more: Partial<TestProvider> = {}): TestProvider {
  const redirectUris: string[] = [];
  const provider: TestProvider = {
    verdict: { ok: true, username: 'ann', roles: ['viewer'] },
    redirectUris,
    label: 'Okta',
    begin(_ctx, { state, redirectUri, data }) {
      redirectUris.push(redirectUri);
      data.verifier = `verifier of ${state}`;
      return `https://id.example/authorize?state=${state}`;
    },
    complete(ctx, { state, data }) {
      if (data.verifier !== `verifier of ${state}`)
        throw new Error('the data is not that of begin');
      return ctx.query.code === 'right' ? provider.verdict : false;
    },
    ...more,
  };
  return provider;
}
