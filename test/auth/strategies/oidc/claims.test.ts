import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { decodeJwt } from 'jose';
import type { OidcOptions } from '../../../../src/auth/strategies/oidc/options.js';
import { memoryStore } from '../../../../src/store/memory-store.js';
import { type Account, TestProvider } from '../../../helpers/oidc-provider.js';
import { attachOidc, redirectUri } from '../../../helpers/oidc-strategy.js';

let provider: TestProvider;
beforeAll(async () => {
  provider = await TestProvider.start({ redirectUri });
});
afterEach(() => provider.reset());
afterAll(async () => provider.close());

let users = 0;

/** Signs in as a new user with these claims. */
async function signInWith(account: Account, options: Partial<OidcOptions> = {}) {
  users += 1;
  const sub = `user-${users}`;
  provider.accounts.set(sub, account);
  const attached = attachOidc(provider, { roles: ['viewer'], ...options });
  return { ...attached, sub, verdict: await attached.signIn(sub) };
}

describe('the name of a user', () => {
  it.each<[string, Account, Partial<OidcOptions>, string | undefined]>([
    ['preferred_username', { preferred_username: 'ann', email: 'a@x.example' }, {}, 'ann'],
    ['a verified address', { email: 'ann@x.example', email_verified: true }, {}, 'ann@x.example'],
    ['the subject for an unverified address', { email: 'x@x.example' }, {}, undefined],
    [
      'the subject for an address that is not verified',
      { email: 'x@x.example', email_verified: false },
      {},
      undefined,
    ],
    [
      'the claim of the option',
      { preferred_username: 'no', name: 'Ann' },
      { username: 'name' },
      'Ann',
    ],
    [
      'the subject for a name with control characters',
      { preferred_username: 'a\nb' },
      {},
      undefined,
    ],
  ])('is %s', async (_what, account, options, name) => {
    const { verdict, sub } = await signInWith(account, options);
    expect(verdict).toMatchObject({ ok: true, username: name ?? sub });
  });

  it('is read from the userinfo endpoint if the ID token lacks it', async () => {
    const own = await TestProvider.start({
      redirectUri,
      configuration: { conformIdTokenClaims: true },
    });
    own.accounts.set('ann', { preferred_username: 'Ann', groups: ['sre'] });
    expect(await attachOidc(own).signIn('ann')).toMatchObject({
      username: 'Ann',
      roles: ['operator'],
    });
    own.change('/me', (answer) => ({ ...answer, sub: 'bob' }));
    await expect(attachOidc(own).signIn('ann')).rejects.toThrow('not valid');
    await own.close();
  });

  it.each<[string, Account]>([
    ['missing', { preferred_username: 'ann' }],
    ['an address that is not verified', { email: 'ann@x.example', email_verified: false }],
    ['not a text', { email: 7, email_verified: true }],
  ])('rejects a user if the claim of the option is %s', async (_what, account) => {
    const { verdict, log } = await signInWith(account, { username: 'email' });
    expect(verdict).toMatchObject({ ok: false, reason: 'no_name', page: 'no_name' });
    const [line] = log.lines.filter(({ msg }) => String(msg).includes('no usable name'));
    expect(line).toMatchObject({ strategy: 'okta', requestId: 'r1' });
    expect(line?.claims).toContain('sub');
  });
});

describe('the roles of a user', () => {
  const groups = ['staff'];

  it('come from a list, a table or a function', async () => {
    const rolesOf = async (roles: OidcOptions['roles']) =>
      (await signInWith({ groups, name: 'Ann' }, { roles })).verdict;
    expect(await rolesOf(['viewer'])).toMatchObject({ roles: ['viewer'] });
    expect(await rolesOf({ map: { staff: 'operator' } })).toMatchObject({ roles: ['operator'] });
    expect(await rolesOf({ from: 'name', map: { Ann: 'admin' } })).toMatchObject({
      roles: ['admin'],
    });
    expect(await rolesOf({ map: {}, otherwise: ['viewer'] })).toMatchObject({ roles: ['viewer'] });
    expect(
      await rolesOf(({ claims }) => (claims.name === 'Ann' ? ['admin'] : false)),
    ).toMatchObject({ roles: ['admin'] });
  });

  it('reject a user if none matches', async () => {
    const { verdict } = await signInWith(
      { groups: ['STAFF', 'staff '], preferred_username: 'kim' },
      { roles: { map: { staff: 'viewer' } } },
    );
    expect(verdict).toMatchObject({
      ok: false,
      reason: 'no_role',
      page: 'no_role',
      username: 'kim',
    });
  });

  it.each([
    ['false', { email_verified: false }],
    ['missing', {}],
  ])('ignore an address if email_verified is %s', async (_what, flag) => {
    const account = { email: 'boss@x.example', ...flag };
    const table = { from: 'email', map: { 'boss@x.example': 'admin' } } as const;
    expect((await signInWith(account, { roles: table })).verdict).toMatchObject({ ok: false });
    const byClaim: OidcOptions['roles'] = ({ claims }) =>
      claims.email === 'boss@x.example' ? ['admin'] : false;
    expect((await signInWith(account, { roles: byClaim })).verdict).toMatchObject({ ok: false });
  });

  it.each<[string, object, Account, boolean]>([
    ['of userinfo with its own flag', {}, { email: 'a@x.example', email_verified: true }, true],
    ['of userinfo without a flag', { email_verified: true }, { email: 'a@x.example' }, false],
    [
      'of userinfo with the flag false',
      { email_verified: true },
      { email: 'a@x.example', email_verified: false },
      false,
    ],
    [
      'of the ID token without a flag',
      { email: 'a@x.example' },
      { email: 'b@x.example', email_verified: true },
      false,
    ],
  ])('use an address %s only if the flag vouches for it', async (_what, token, more, isUsed) => {
    provider.change('/token', async (answer) => {
      const { email: _, email_verified: __, ...claims } = decodeJwt(String(answer.id_token));
      return { ...answer, id_token: await provider.sign({ ...claims, ...token }) };
    });
    provider.change('/me', ({ sub }) => ({ sub, ...more }));
    const roles: OidcOptions['roles'] = ({ claims }) => [`address:${String(claims.email)}`];
    const { verdict } = await signInWith({}, { roles });
    expect(verdict).toMatchObject({ roles: [`address:${isUsed ? 'a@x.example' : 'undefined'}`] });
  });

  it('come from a nested claim', async () => {
    const roles = { from: 'realm_access.roles', map: { sre: 'operator' } } as const;
    provider.change('/token', async (answer) => {
      const claims = { ...decodeJwt(String(answer.id_token)), realm_access: { roles: ['sre'] } };
      return { ...answer, id_token: await provider.sign(claims) };
    });
    expect((await signInWith({}, { roles })).verdict).toMatchObject({ roles: ['operator'] });
  });

  it.each([
    ['_claim_names', { _claim_names: { groups: 'src1' } }],
    ['hasgroups', { hasgroups: true }],
  ])('reject a user with more groups than a token holds (%s)', async (_what, overage) => {
    const account = { preferred_username: 'max', ...overage };
    const table = { map: { staff: 'viewer' }, otherwise: ['viewer'] } as const;
    const { verdict, log } = await signInWith(account, { roles: table });
    expect(verdict).toMatchObject({
      ok: false,
      reason: 'too_many_groups',
      page: 'too_many_groups',
    });
    expect(log.text()).toContain('assign groups to the application');
    // Neither a function nor another claim needs the groups.
    const { verdict: byFunction } = await signInWith(account, { roles: () => ['viewer'] });
    expect(byFunction).toMatchObject({ ok: true });
  });

  it('come from a token with 300 groups, which is not in the answer', async () => {
    const many = Array.from({ length: 300 }, (_, index) => `group-${index}-${'x'.repeat(40)}`);
    const { verdict } = await signInWith(
      { groups: [...many, 'sre'] },
      { roles: { map: { sre: 'operator' } } },
    );
    expect(verdict).toMatchObject({ ok: true, roles: ['operator'] });
    expect(JSON.stringify(verdict).length).toBeLessThan(200);
  });
});

describe('a name that another user has', () => {
  it('is refused until it is unpinned', async () => {
    const store = memoryStore();
    provider.accounts.set('first', { preferred_username: 'sam' });
    provider.accounts.set('second', { preferred_username: 'Sam' });
    const one = attachOidc(provider, { roles: ['viewer'] }, { store });
    const two = attachOidc(provider, { roles: ['viewer'] }, { store });
    expect(await one.signIn('first')).toMatchObject({ ok: true, username: 'sam' });
    expect(await two.signIn('second')).toMatchObject({
      ...{ ok: false, reason: 'name_taken', page: 'name_taken', username: 'Sam' },
    });
    expect(await two.signIn('first')).toMatchObject({ ok: true });
    expect(await one.strategy.unpin('nobody')).toBe(false);
    expect(await one.strategy.unpin('SAM')).toBe(true);
    expect(await two.signIn('second')).toMatchObject({ ok: true, username: 'Sam' });
    expect(await two.signIn('first')).toMatchObject({ ok: false, reason: 'name_taken' });
  });

  it('is given to one of two users who sign in at the same time', async () => {
    provider.accounts.set('same-1', { preferred_username: 'twin' });
    provider.accounts.set('same-2', { preferred_username: 'twin' });
    const { signIn } = attachOidc(provider, { roles: ['viewer'] });
    const verdicts = await Promise.all([signIn('same-1'), signIn('same-2')]);
    expect(verdicts.filter(({ ok }) => ok)).toHaveLength(1);
  });

  it('becomes free again when its account has pinned three newer ones', async () => {
    const { signIn, log } = attachOidc(provider, { roles: ['viewer'] });
    const as = async (sub: string, name: string): Promise<unknown> => {
      provider.accounts.set(sub, { preferred_username: name });
      const verdict = await signIn(sub);
      return verdict.ok ? verdict.username : verdict.reason;
    };
    const names = ['one', 'two', 'three', 'two', 'ONE', 'three'];
    for (const name of names) expect(await as('squatter', name)).toBe(name);
    expect(await as('other', 'two')).toBe('name_taken');
    expect(await as('squatter', 'four')).toBe('four');
    for (const name of ['one', 'three', 'four']) expect(await as('other', name)).toBe('name_taken');
    expect(await as('other', 'two')).toBe('two');
    expect(await as('squatter', 'two')).toBe('name_taken');
    expect(log.text()).not.toContain('error');
  });

  it('keeps its sessions if another user had the name before', async () => {
    provider.accounts.set('early', { preferred_username: 'kit' });
    provider.accounts.set('late', { preferred_username: 'kit' });
    const { signIn, ended, strategy } = attachOidc(provider, { roles: ['viewer'] });
    await signIn('early');
    expect(await strategy.unpin('kit')).toBe(true);
    expect(await signIn('late')).toMatchObject({ ok: true });
    provider.accounts.set('early', { preferred_username: 'kat' });
    expect(await signIn('early')).toMatchObject({ ok: true, username: 'kat' });
    expect(ended).toEqual([]);
  });

  it('ends the sessions under the name that the user had before', async () => {
    provider.accounts.set('renamed', { preferred_username: 'before' });
    const { signIn, ended } = attachOidc(provider, { roles: ['viewer'] });
    await signIn('renamed');
    provider.accounts.set('renamed', { preferred_username: 'BEFORE' });
    await signIn('renamed');
    expect(ended).toEqual([]);
    provider.accounts.set('renamed', { preferred_username: 'after' });
    await signIn('renamed');
    expect(ended).toEqual([{ username: 'BEFORE' }]);
  });
});
