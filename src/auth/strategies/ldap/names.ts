/*
 * Names in the two languages of LDAP: distinguished names (RFC 4514) and search filters (RFC 4515).
 * The classes of ldapts are not used here: its DN does not escape NUL, quotes blanks in a way that
 * RFC 4514 has dropped, cannot read a DN from a text, and compares case.
 */

/** The values that a template of a filter or of a DN contains. */
interface Values {
  username?: string | undefined;
  dn?: string | undefined;
}

const hexPair = (character: string): string =>
  `\\${character.charCodeAt(0).toString(16).padStart(2, '0')}`;

/** Escapes a text that becomes a value in a filter. */
function escapeForFilter(text: string): string {
  return text.replaceAll(/[\\*()]/g, hexPair).replaceAll('\0', '\\00');
}

/** Escapes a text that becomes a value in a DN. */
export function escapeForDn(text: string): string {
  return text
    .replaceAll(/["#+,;<=>\\]/g, hexPair)
    .replaceAll('\0', '\\00')
    .replaceAll(/^ +| +$/g, (blanks) => '\\20'.repeat(blanks.length));
}

/**
 * Puts names into the template of a filter. A name that is a part of a DN, as in
 * `(member=uid={username},ou=people)`, is escaped for the DN first.
 */
export function fillFilter(template: string, values: Values): string {
  return template.replaceAll(
    /\{(username|dn)\}/g,
    (_, name: keyof Values, offset: number): string => {
      const value = values[name] ?? '';
      const before = template.slice(template.lastIndexOf('(', offset), offset);
      const isInDn = name === 'username' && /=.*=\s*$/s.test(before);
      return escapeForFilter(isInDn ? escapeForDn(value) : value);
    },
  );
}

/** Returns the attributes that a filter compares with the whole user name, in lower case. */
export function attributesOfName(filter: string): string[] {
  return [...filter.matchAll(/\(\s*([\w.-]+)=\{username\}\)/g)].map(([, name = '']) =>
    name.toLowerCase(),
  );
}

/** One part of a DN: the type, the value, and the separator after it. */
const part =
  /\s*([a-z][\w-]*|\d+(?:\.\d+)*)\s*=((?:\\[\da-f]{2}|\\[ "#+,;<=>\\]|[^\\,;+"<>\0])*)([,;+]|$)/iy;

/** An attribute type in lower case, and its value without escapes. */
type Pair = readonly [type: string, value: string];

/**
 * Reads a DN: the list of its RDNs, each with its pairs. Returns `undefined` if the text is not a
 * DN, or if it has a value in hexadecimal BER, which cannot be compared.
 */
function readDn(text: string): Pair[][] | undefined {
  const rdns: Pair[][] = [];
  let pairs: Pair[] = [];
  for (let at = 0; ; ) {
    part.lastIndex = at;
    const [whole, type = '', raw = '', separator] = part.exec(text) ?? [];
    if (whole === undefined || raw.trimStart().startsWith('#')) return undefined;
    pairs.push([type.toLowerCase(), unescapeDn(raw)]);
    if (separator !== '+') {
      rdns.push(pairs);
      pairs = [];
    }
    if (separator === '') return rdns;
    at += whole.length;
  }
}

/** Removes the escapes of a value. Blanks around it have no meaning, escaped or not. */
function unescapeDn(raw: string): string {
  return raw
    .trim()
    .replaceAll(/((?:\\[\da-f]{2})+)|\\(.)/gi, (_, bytes?: string, character?: string) =>
      bytes === undefined
        ? (character ?? '')
        : Buffer.from(bytes.replaceAll('\\', ''), 'hex').toString(),
    )
    .trim();
}

/** Whether a text is a DN. */
export function isDn(text: string): boolean {
  return readDn(text) !== undefined;
}

/** Returns the value of the first RDN of a DN, which is the name of a group or user. */
export function firstValueOf(dn: string): string | undefined {
  return readDn(dn)?.[0]?.[0]?.[1];
}

/**
 * Returns a text that is equal for equal names. A name with `=` is a DN. DNs are equal if they
 * differ only in case, in blanks, in the order of the pairs of an RDN, or in how a value is
 * escaped. The two kinds of names are never equal.
 */
export function keyOfName(text: string): string {
  if (!text.includes('=')) return `name:${folded(text)}`;
  const rdns = readDn(text);
  if (!rdns) return `text:${text}`;
  const parts = rdns.map((pairs) =>
    pairs.map(([type, value]) => `${type}=${folded(value)}`).sort(),
  );
  return `dn:${JSON.stringify(parts)}`;
}

function folded(text: string): string {
  return text.normalize('NFC').toLowerCase().replaceAll(/\s+/g, ' ').trim();
}
