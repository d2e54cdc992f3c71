/** Letters with a stroke and ligatures, which Unicode does not decompose although directories and databases fold them. */
const folded: Readonly<Record<string, string>> = { ø: 'o', ł: 'l', đ: 'd', ð: 'd', ħ: 'h', ŧ: 't', ı: 'i', æ: 'ae', œ: 'oe', ς: 'σ' };

/**
 * The account that a typed name stands for. Directories and databases take names for equal that differ in case, width,
 * spaces, accents and characters without a glyph (RFC 4518 section 2, collations such as MySQL's `utf8mb4_0900_ai_ci`), and
 * no spelling may have failures of its own to spend. Two accounts that fold to one share their limit, which does no harm.
 */
export function accountOf(username: string): string {
  return (
    username
      .normalize('NFKD')
      .replace(/[\p{M}\p{Default_Ignorable_Code_Point}]/gu, '')
      // By way of capitals, which make ß to SS.
      .toLowerCase()
      .toUpperCase()
      .toLowerCase()
      .normalize('NFKD')
      .replace(/\p{M}/gu, '')
      .replace(/[øłđðħŧıæœς]/g, (letter) => folded[letter] ?? letter)
      .replace(/\s+/gu, ' ')
      .trim()
  );
}
