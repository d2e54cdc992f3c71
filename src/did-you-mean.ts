/**
 * Words that other libraries or other options of this one use, and the accepted names that the user
 * may have meant.
 */
const synonyms: Readonly<Record<string, readonly string[]>> = {
  access: ['auth'],
  address: ['host'],
  attempts: ['retries'],
  auth: ['access'],
  before: ['to'],
  database: ['db'],
  db: ['database'],
  delay: ['runIn'],
  file: ['database'],
  filename: ['database'],
  interval: ['every'],
  jobid: ['idempotencyKey'],
  path: ['database'],
  pattern: ['cron'],
  prefix: ['path'],
  retry: ['retries'],
  search: ['q'],
  server: ['host'],
  since: ['from'],
  ssl: ['tls'],
  text: ['q'],
  type: ['action'],
  tz: ['timezone'],
  until: ['to'],
  user: ['actor', 'auth', 'strategies', 'username'],
  users: ['auth', 'strategies'],
};

/**
 * Returns a sentence for an error message that suggests the accepted name closest to an unknown
 * one. The sentence starts with a space. Returns an empty string if no name is close.
 */
export function didYouMean(unknown: string, accepted: readonly string[]): string {
  const found = nearest(unknown.slice(0, 64).toLowerCase(), accepted);
  return found === undefined ? '' : ` Did you mean ${JSON.stringify(found)}?`;
}

function nearest(unknown: string, accepted: readonly string[]): string | undefined {
  const meant = Object.hasOwn(synonyms, unknown)
    ? synonyms[unknown]?.find((word) => accepted.includes(word))
    : undefined;
  if (meant !== undefined) return meant;
  let best: { word: string; distance: number } | undefined;
  for (const word of accepted) {
    const distance = distanceBetween(unknown, word.toLowerCase());
    if (distance !== undefined && (best === undefined || distance < best.distance))
      best = { word, distance };
  }
  return best?.word;
}

/**
 * Returns the distance between two words, or `undefined` if one is not a likely typo of the other.
 */
function distanceBetween(one: string, other: string): number | undefined {
  const longer = Math.max(one.length, other.length);
  const edits = editsBetween(one, other);
  if (edits * 3 <= longer) return edits;
  // For example, maxRetries for retries, and retry for retries.
  const [short, long] = one.length < other.length ? [one, other] : [other, one];
  const isPart = short.length >= 4 && long.includes(short);
  return isPart || sharedStart(one, other) * 2 >= Math.max(longer, 8) ? edits : undefined;
}

function sharedStart(one: string, other: string): number {
  let length = 0;
  while (length < one.length && one[length] === other[length]) length += 1;
  return length;
}

/**
 * Returns the minimum number of letters to add, remove, replace or swap with the next one (optimal
 * string alignment).
 */
function editsBetween(one: string, other: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let row = 1; row <= one.length; row++) {
    const next = [row];
    for (let column = 1; column <= other.length; column++) {
      const same = one[row - 1] === other[column - 1];
      const swapped = one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1];
      next[column] = Math.min(
        (last[column] ?? 0) + 1,
        (next[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (same ? 0 : 1),
        swapped ? (beforeLast[column - 2] ?? 0) + 1 : longest,
      );
    }
    [beforeLast, last] = [last, next];
  }
  return last[other.length] ?? longest;
}

/** Greater than the number of edits between any two words. */
const longest = 1000;
