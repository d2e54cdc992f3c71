import { describe, expect, it } from '@jest/globals';
import { textsOfGroups } from '../../../src/auth/strategies/ldap/groups.js';
import {
  attributesOfName,
  escapeForDn,
  fillFilter,
  firstValueOf,
  isDn,
  keyOfName,
} from '../../../src/auth/strategies/ldap/names.js';

describe('a name in a filter', () => {
  it('is escaped by RFC 4515 and inserted literally', () => {
    const fill = (username: string): string => fillFilter('(uid={username})', { username });
    expect(fill('*)(uid=*')).toBe('(uid=\\2a\\29\\28uid=\\2a)');
    expect(fill('a\\b\0')).toBe('(uid=a\\5cb\\00)');
    expect(fill('$& $1 {dn}')).toBe('(uid=$& $1 {dn})');
  });

  it('is escaped for the DN first if it is a part of one', () => {
    const fill = (template: string): string => fillFilter(template, { username: 'ann,ou=x' });
    expect(fill('(member=uid={username},ou=people)')).toBe(
      '(member=uid=ann\\5c2cou\\5c3dx,ou=people)',
    );
    expect(fill('(&(cn=a)(uid={username}))')).toBe('(&(cn=a)(uid=ann,ou=x))');
  });

  it('can be a DN, whose own escapes are escaped', () => {
    const dn = 'cn=Roosevelt\\, Teddy (TR),ou=people';
    expect(fillFilter('(member={dn})', { dn })).toBe(
      '(member=cn=Roosevelt\\5c, Teddy \\28TR\\29,ou=people)',
    );
  });

  it('names the attributes that are compared with it', () => {
    expect(
      attributesOfName('(&(a=b)(|(UID={username})(mail={username})(cn=x{username})))'),
    ).toEqual(['uid', 'mail']);
  });
});

describe('a DN', () => {
  it('has names that are escaped by RFC 4514', () => {
    expect(escapeForDn(' a, b+"c"\\<d>;#=\0 ')).toBe(
      '\\20a\\2c b\\2b\\22c\\22\\5c\\3cd\\3e\\3b\\23\\3d\\00\\20',
    );
    expect(firstValueOf(`cn=${escapeForDn('a,b=\u00e9\0')},dc=x`)).toBe('a,b=\u00e9\0');
  });

  it.each([
    ['CN=X,DC=y', 'cn=x,dc=Y'],
    ['cn = a  b , dc=y', 'cn=A B,dc=y'],
    ['cn=a\\2cb,dc=y', 'cn=a\\,b,dc=y'],
    ['cn=\\c3\\a9,dc=y', 'cn=\u00c9,dc=y'],
    ['cn=e\\cc\\81,dc=y', 'cn=\u00e9,dc=y'],
    ['cn=a+sn=b,dc=y', 'SN=B+cn=a,dc=y'],
    ['cn=a;dc=y', 'cn=a,dc=y'],
    ['cn=\\20a\\20,dc=y', 'cn=a,dc=y'],
    ['cn=a=b,dc=y', 'cn=a\\3db,dc=y'],
    ['SRE', 'sre'],
  ])('equals another spelling: %s and %s', (one, other) => {
    expect(keyOfName(one)).toBe(keyOfName(other));
  });

  it.each([
    ['cn=a,dc=x,dc=y', 'cn=a\\,dc\\3dx,dc=y'],
    ['cn=a+sn=b,dc=y', 'cn=a,sn=b,dc=y'],
    ['cn=a,dc=y', 'uid=a,dc=y'],
    ['cn=a\\+sn\\3db,dc=y', 'cn=a+sn=b,dc=y'],
    ['dn:[["cn', 'cn=x'],
    ['cn=#0403,dc=y', 'cn=\\#0403,dc=y'],
  ])('differs from a similar one: %s and %s', (one, other) => {
    expect(keyOfName(one)).not.toBe(keyOfName(other));
  });

  it('of a group has no plain name that looks like another DN', () => {
    expect(textsOfGroups(['cn=sre,dc=y'])).toEqual(['cn=sre,dc=y', 'sre']);
    const disguised = 'cn=cn\\3dsre\\2cdc\\3dy,ou=own';
    expect(textsOfGroups([disguised])).toEqual([disguised]);
    expect(firstValueOf(disguised)).toBe('cn=sre,dc=y');
  });

  it('never equals a plain name that is written as its key', () => {
    const key = keyOfName('cn=a,dc=y');
    expect(keyOfName(key)).not.toBe(key);
    expect(keyOfName(key.replaceAll('=', ''))).not.toBe(key);
  });

  it.each(['', 'cn', '=x', 'cn=a,', ',cn=a', 'cn=a,,dc=y', 'cn="a",dc=y', 'cn=a\\', 'cn=\\zz'])(
    'is not %j',
    (text) => {
      expect(isDn(text)).toBe(false);
    },
  );
});
