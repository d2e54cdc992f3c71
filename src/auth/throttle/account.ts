/**
 * Letters with a stroke and ligatures, which Unicode does not decompose although directories and
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
 * What the root collation of Unicode (UTS 10) takes for equal without accents and case, as
 * `utf8mb4_0900_ai_ci` of MySQL does.
 */
const collator = new Intl.Collator('und', { sensitivity: 'base' });
const plain = [...'0123456789abcdefghijklmnopqrstuvwxyz'];
/**
 * What was found for a character: of the several thousand digits, marks, symbols and Latin letters
 * that Unicode has.
 */
const plainOf = new Map<string, string>();

/**
 * Returns the account that a typed name stands for. Directories and databases treat names as equal
 * that differ in case, width, spaces, accents, digits of another script and characters that a
 * collation ignores (RFC 4518 section 2, collations such as MySQL's `utf8mb4_0900_ai_ci`), so these
 * spellings must share one limit. Only the limits of strangers use it. Two users whose names fold
 * to the same text share those limits, but not what belongs to a user, such as familiar browsers
 * and networks.
 */
export function accountOf(username: string): string {
  return (
    username
      // Collations ignore control characters such as U+0001, but not tabs and line ends.
      .replace(/[^ -~\s]/gu, (character) => (isIgnored(character) ? '' : character))
      // Enclosed letters and letters above others, which NFKD leaves as they are.
      .replace(/[\p{So}\p{M}]/gu, toPlain)
      .normalize('NFKD')
      .replace(/[\p{M}\p{Default_Ignorable_Code_Point}]/gu, '')
      // By way of capitals, which make ß to SS.
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
 * Each is compared once: a flood of names must not cost as many comparisons as it has characters.
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
