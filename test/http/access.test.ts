import { describe, expect, it } from '@jest/globals';
import { hasRole, type Role } from '../../src/http/access.js';

const needed = ['viewer', 'operator', 'admin', 'audits'] as const;

describe('a role', () => {
  it.each<[string, Role[], readonly boolean[]]>([
    ['no role at all', [], [true, false, false, false]],
    ['viewer', ['viewer'], [true, false, false, false]],
    ['operator', ['operator'], [true, true, false, false]],
    ['admin', ['admin'], [true, true, true, false]],
    ['a role of the app', ['audits'], [true, false, false, true]],
    [
      'a name that resembles a role',
      ['Admin', 'admin ', 'superadmin'],
      [true, false, false, false],
    ],
    ['a name from Object.prototype', ['constructor', '__proto__'], [true, false, false, false]],
    ['several roles', ['audits', 'operator'], [true, true, false, true]],
  ])('has exactly its permissions: %s', (_case, roles, expected) => {
    expect(needed.map((role) => hasRole(roles, role))).toEqual(expected);
  });
});
