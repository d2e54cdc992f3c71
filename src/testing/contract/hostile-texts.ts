/*
 * Names and passwords that attack a login. Characters that are invisible are escaped.
 */

/**
 * Names that no user has, for tests of strategies: the metacharacters of LDAP, SQL, patterns and
 * formats, control characters, lone surrogates, the names of inherited properties, and long names.
 */
export const hostileNames: readonly string[] = [
  ...['*', '%', '_', '?', '.*', '(cn=*)', '*)(uid=*))(|(uid=*', 'admin)(&)', '\\2a', '\\', ','],
  ...["' OR '1'='1", '" OR ""="', "admin'--", "'; DROP TABLE users; --", '` OR 1=1', "'"],
  ...['$1', '$&', '%s%n%x', '{username}', '{dn}', '{{7*7}}', '\u0024{jndi:ldap://x}', '-x', '#x'],
  ...[
    '../../etc/passwd',
    ':',
    'a:b',
    '|id',
    '$(id)',
    'cn=admin,dc=x',
    'DOMAIN\\x',
    '[object Object]',
  ],
  ...['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'null', 'undefined', 'true', '0'],
  ...[
    '\0',
    '\u0000x',
    '\r\n{"level":30}',
    '\u001b[2K',
    '\u2028',
    '\u202ex',
    '\ufeff',
    '\u200b',
    ' ',
  ],
  ...['\ud800', '\udfff', 'x\ud83d', '\ud83d\ude00'],
  ...['a'.repeat(257), '\u00e9'.repeat(1024), '*'.repeat(65_536)],
];

/** Passwords that no user has, for tests of strategies. */
export const hostilePasswords: readonly string[] = [
  ...[
    '*',
    '%',
    "' OR '1'='1",
    '" OR ""="',
    "'; DROP TABLE users; --",
    '{{7*7}}',
    '%s%n',
    '$1',
    '$&',
  ],
  ...['null', 'undefined', 'true', '0', '__proto__', '[object Object]', '{password}', '\\', ')(&)'],
  ...['$2b$12$x', '$argon2id$v=19$m=1,t=1,p=1$AA$AA', '{SSHA}x', '{CLEARTEXT}', '*0', '!', 'x'],
  ...[' ', '\0', '\u0000x', '\r\n', '\ufeff', '\ud800', '\udfff', '\ud83d\ude00', 'e\u0301'],
  ...['a'.repeat(72), 'a'.repeat(1025), '\u00e9'.repeat(65_536)],
];

/** Returns names that contain the name of a user, but are names of no user. */
export function hostileNamesLike(name: string): readonly string[] {
  return [
    ...[`${name}*`, `*${name}`, `${name}%`, `${name.slice(0, 1)}%`, '_'.repeat(name.length)],
    ...[`${name})(uid=*`, `${name})(|(uid=*`, `${name})`, `${name},ou=x`, `${name}+cn=x`],
    ...[`${name}'--`, `${name}' OR '1'='1`, `${name}" OR "1"="1`, `${name}\\`, `x' OR '${name}`],
    ...[
      `${name}:x`,
      `x:${name}`,
      `../${name}`,
      `${name}/`,
      `{${name}}`,
      `${name}\0x`,
      `${name}\ud800`,
    ],
  ];
}

/**
 * Returns other spellings of a name. A strategy may accept them, but only under the canonical name.
 */
export function spellingsOf(name: string): readonly string[] {
  const spellings = [
    ...[name.toUpperCase(), name.toLowerCase(), name.normalize('NFD'), name.normalize('NFC')],
    ...[` ${name}`, `${name} `, `${name}\t`, `${name}\n`, `${name}\0`],
    ...[`\ufeff${name}`, `${name}\u200b`, `${name}\u00ad`, `${name}\u0301`],
    name.replaceAll(/[!-~]/g, (letter) => String.fromCodePoint(letter.charCodeAt(0) + 0xfee0)),
  ];
  return spellings.filter((spelling) => spelling !== name);
}

/**
 * Returns passwords that differ from the right one in few characters. A NUL at the end is not among
 * them: PBKDF2 and scrypt accept it, and a login refuses each NUL before it asks a strategy.
 */
export function passwordsLike(password: string): readonly string[] {
  const otherCase = [...password]
    .map((letter) =>
      letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase(),
    )
    .join('');
  return [
    ...[`${password}x`, `x${password}`, password.slice(0, -1), password.slice(1)],
    ...[`${password}\0x`, `\0${password}`, ` ${password}`, `${password} `],
    ...[`${password}\n`, password + password, otherCase, [...password].reverse().join('')],
    password + 'x'.repeat(Math.max(1, 1024 - Buffer.byteLength(password))),
  ].filter((other) => other !== password);
}
