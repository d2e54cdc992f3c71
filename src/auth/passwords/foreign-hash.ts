/**
 * Hash formats of other systems. A configured hash must not be treated as a plain password. A
 * client that knows the hash could then sign in with it, and the user with the right password could
 * not (CWE-836). `parseHash` rejects unknown hashes that begin with `$`.
 */
const foreign: readonly (readonly [system: string, pattern: RegExp])[] = [
  [
    'LDAP or Dovecot (RFC 2307)',
    /^\{(s?sha\d*|s?md[45]|crypt|cleartext|plain|[a-z0-9]+-(crypt|md5)|ntlm?|lanman)([.-]\w+)?\}/i,
  ],
  [
    'Spring Security or Dovecot',
    /^\{(noop|ldap|[bs]crypt|argon2\w*|pbkdf2|sha-?(1|224|256|384|512)|ssha-?\d+)([@.-][\w-]+)?\}/i,
  ],
  [
    'Django',
    /^(pbkdf2_sha\d+|argon2|bcrypt|bcrypt_sha256|scrypt|md5|sha1|unsalted_\w+|crypt)\$.*\$/s,
  ],
  ['Werkzeug', /^(scrypt:\d|pbkdf2:sha\d|(md5|sha\d+)\$[^$]+\$[0-9a-f]+$)/i],
  ['PostgreSQL', /^(SCRAM-SHA-256\$\d+:|md5[0-9a-f]{32}$)/],
  ['MySQL', /^\*[0-9A-F]{40}$/],
  ['ASP.NET Identity', /^AQAAAA[A-Za-z0-9+/]{70,}={0,2}$/],
  ['PBKDF2 of another library', /^sha(1|256|512):\d+:/],
  ['a password file, with a name before it', /^[^:\s]{1,256}:(\$[\w-]+\$|\{SHA\})/],
  ['any system, in quotation marks', /^["'`]\$[\w-]+\$/],
];

/** Formats of texts that may be a hash of another system or a password. */
const doubtful: readonly (readonly [shape: string, pattern: RegExp])[] = [
  ['a DES crypt hash', /^[./A-Za-z0-9]{13}$/],
  ['an extended DES crypt hash', /^_[./A-Za-z0-9]{19}$/],
  ['an MD5 hash in hexadecimal digits', /^[0-9a-f]{32}$/i],
  ['an SHA hash in hexadecimal digits', /^([0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{128})$/i],
];

/** Returns the name of the system whose hash a text certainly is, or `undefined`. */
export function foreignHashOf(text: string): string | undefined {
  return foreign.find(([, pattern]) => pattern.test(text))?.[0];
}

/** Returns the type of hash that a text may be, or `undefined`. */
export function doubtfulHashOf(text: string): string | undefined {
  return doubtful.find(([, pattern]) => pattern.test(text))?.[0];
}
