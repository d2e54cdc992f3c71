/**
 * Letters with a stroke and ligatures. Unicode does not decompose them, but directories and
 * databases fold them.
 */
const folded: Readonly<Record<string, string>> = {
  ø: 'o',
  ł: 'l',
  đ: 'd',
  ð: 'd',
  ħ: 'h',
  ŧ: 't',
  ı: 'i',
  æ: 'ae',
  œ: 'oe',
};

/**
 * Compares characters without accents and case, like the root collation of Unicode (UTS 10) and
 * `utf8mb4_0900_ai_ci` of MySQL.
 */
const collator = new Intl.Collator('und', { sensitivity: 'base' });
const plain = [...'0123456789abcdefghijklmnopqrstuvwxyz'];
/**
 * Cache of compared characters. Its size is bounded: Unicode has several thousand digits, marks,
 * symbols and Latin letters.
 */
const plainOf = new Map<string, string>();

/**
 * Returns the account of a typed name, by which attempts from unfamiliar places are limited.
 * Directories and databases treat names as equal that differ in case, width, spaces, accents,
 * digits of another script or ignored characters (RFC 4518 section 2, and collations such as
 * MySQL's `utf8mb4_0900_ai_ci`). All these spellings must share one limit. Two users whose names
 * fold to the same text share it too. Familiar browsers and networks have separate limits for each
 * user.
 */
export function accountOf(username: string): string {
  return (
    username
      // Collations ignore control characters such as U+0001, but not tabs and line breaks.
      .replace(/[^ -~\s]/gu, (character) => (isIgnored(character) ? '' : character))
      // NFKD does not change enclosed letters and combining letters, so they are replaced here.
      .replace(/[\p{So}\p{M}]/gu, toPlain)
      .normalize('NFKD')
      .replace(/[\p{M}\p{Default_Ignorable_Code_Point}]/gu, '')
      // The conversion to upper case replaces ß with SS.
      .toLowerCase()
      .toUpperCase()
      .toLowerCase()
      .normalize('NFKD')
      .replace(/\p{M}/gu, '')
      .replace(/[^ -~\P{N}]|[^ -~\P{Script=Latin}]/gu, toPlain)
      .replace(/ς/g, 'σ')
      .replace(/\s+/gu, ' ')
      .trim()
  );
}

function isIgnored(character: string): boolean {
  return collator.compare(character, '') === 0;
}

/**
 * Returns the plain letter or digit that a character folds to. The result is cached, so that a
 * flood of names does not cause a comparison for each of their characters.
 */
function toPlain(character: string): string {
  const known =
    plainOf.get(character) ??
    folded[character] ??
    plain.find((each) => collator.compare(each, character) === 0) ??
    character;
  plainOf.set(character, known);
  return known;
}
