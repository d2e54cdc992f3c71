import { expect, it } from '@jest/globals';
import { unusedRows } from '../../../src/auth/strategies/ldap/mapped-groups.js';

const hour = 3_600_000;

it('logs a row of roles.map once if no login has matched it for a day', () => {
  const groups: unknown[] = [];
  let now = 0;
  const logger = { warn: (fields: { group: string }) => groups.push(fields.group) } as never;
  const map = { 'CN=SRE,DC=x': 'operator', staff: 'viewer', old: 'admin' };
  const note = unusedRows(map, { logger, now: () => now });
  note([]);
  now = 23 * hour;
  note(['cn=sre,dc=X']);
  now = 24 * hour;
  note(['staff']);
  expect(groups).toEqual(['old']);
  now = 47 * hour;
  note(['staff']);
  expect(groups).toEqual(['old', 'CN=SRE,DC=x']);
  now = 100 * hour;
  note(['staff']);
  expect(groups).toHaveLength(2);
});
