import { describe, expect, it } from '@jest/globals';
import { type RolesRule, rolesRule } from '../../../src/auth/strategies/roles.js';

type User = { groups: readonly string[] };

function rolesOf(rule: RolesRule<User> | undefined, groups: readonly string[] = []) {
  const decide = rolesRule<User>('roles', rule, {
    from: 'groups',
    normalize: (text) => text.toLowerCase(),
  });
  return decide({ user: { groups }, listOf: (from) => (from === 'groups' ? groups : [from]) });
}

describe('rolesRule', () => {
  it('gives each user the same roles if it is a list, and none by default', async () => {
    expect(await rolesOf(['viewer'])).toEqual(['viewer']);
    expect(await rolesOf(undefined)).toEqual([]);
  });

  it('gives the roles of all matching rows of a table, each once', async () => {
    const map = { sre: 'operator', Ops: ['operator', 'viewer'], none: [] } as const;
    expect(await rolesOf({ map }, ['SRE', 'ops', 'sales'])).toEqual(['operator', 'viewer']);
    expect(await rolesOf({ map }, ['none'])).toEqual([]);
    expect(await rolesOf({ from: 'department', map: { department: 'viewer' } })).toEqual([
      'viewer',
    ]);
  });

  it('rejects a user without a matching row unless `otherwise` has roles', async () => {
    expect(await rolesOf({ map: { sre: 'admin' } }, ['sales'])).toBe(false);
    expect(await rolesOf({ map: {}, otherwise: [] }, ['sales'])).toEqual([]);
    expect(await rolesOf({ map: {} }, ['constructor', '__proto__'])).toBe(false);
  });

  it('answers without a promise unless a function returns one', () => {
    expect(rolesOf(['viewer'])).toEqual(['viewer']);
    expect(rolesOf({ map: { sre: 'operator' } }, ['sre'])).toEqual(['operator']);
    expect(rolesOf(() => ['viewer'])).toEqual(['viewer']);
  });

  it('asks a function, which may return a promise or false', async () => {
    expect(await rolesOf(({ groups }) => [...groups], ['viewer'])).toEqual(['viewer']);
    expect(await rolesOf(() => Promise.resolve(false as const))).toBe(false);
    expect(() => rolesOf(() => 'admin' as never)).toThrow(TypeError);
    await expect(rolesOf(() => Promise.resolve('admin' as never))).rejects.toThrow(TypeError);
    expect(() => rolesOf(() => undefined as never)).toThrow(TypeError);
  });

  it.each([
    ['admin', /roles/],
    [null, /roles/],
    [{ map: 'sre' }, /roles\.map/],
    [{ map: { sre: 1 } }, /roles\.map\['sre'\]/],
    [{ map: { sre: undefined } }, /roles\.map\['sre'\]/],
    [{ map: {}, otherwise: true }, /roles\.otherwise/],
    [{ map: {}, from: 1 }, /roles\.from/],
    [{ map: {}, othrewise: [] }, /otherwise/],
    [{ map: { sre: 'admin', SRE: 'viewer' } }, /same text/],
  ])('throws for %j', (rule, message) => {
    expect(() => rolesRule('roles', rule as never, { from: 'groups', normalize: lower })).toThrow(
      message,
    );
  });

  it('refuses a list that the strategy does not have', () => {
    const lists = ['username'];
    expect(() => rolesRule('roles', { from: 'groups', map: {} }, { lists })).toThrow(RangeError);
    expect(() => rolesRule('roles', { from: 'username', map: {} }, { lists })).not.toThrow();
  });

  it('needs the name of the list if the strategy has no default', () => {
    expect(() => rolesRule('roles', { map: {} })).toThrow(/roles\.from/);
  });
});

const lower = (text: string): string => text.toLowerCase();
