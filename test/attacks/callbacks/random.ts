import { randomNumbers } from '../../../scripts/random-numbers.js';

/** Texts that break parsers. Each character is one byte, as in a request. */
const hostile: readonly string[] = [
  ...['', '0', '-1', '1e309', 'null', 'true', 'undefined', '[object Object]', '[]', '{}', '*'],
  ...['__proto__', 'constructor', 'toString', '%', '%zz', '%00', '%ff%fe', '%c0%af', '%ed%a0%80'],
  ...['%f0%9f%92%a9', '%F0%9F%92', '%0d%0aSet-Cookie:%20taskflow_token=x', '%2e%2e%2f..%2f'],
  ...['%22%3e%3cscript%3e', "'%20OR%201=1", '%26state=x', 'a=b', 'a;b', 'a,b', '%u0041', '+'],
  ...['\xff', '\xc0\xaf', '\xed\xa0\x80', '\xf0\x9f\x92', '\xe2\x80\xae', '\xef\xbb\xbf'],
  ...['9'.repeat(400), 'a'.repeat(300), 'a'.repeat(3000), '%41'.repeat(1000)],
];

const alphabet = 'Aaz09-_.=%+/&?;,"\'\\[]{}~\x80\xff';

/** Choices that depend on the seed alone. */
export class Random {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = randomNumbers(seed);
  }

  /** Returns a whole number below a limit. */
  below(limit: number): number {
    return Math.floor(this.#next() * limit);
  }

  chance(probability: number): boolean {
    return this.#next() < probability;
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error('there is nothing to pick');
    return item;
  }

  /** Picks a name by its weight. */
  weighted<K extends string>(weights: Readonly<Record<K, number>>): K {
    const entries = Object.entries(weights) as [K, number][];
    let left = this.#next() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [name, weight] of entries) {
      left -= weight;
      if (left < 0) return name;
    }
    return this.pick(entries)[0];
  }

  /** Returns a hostile text. */
  hostile(): string {
    return this.pick(hostile);
  }

  /** Returns characters of base64url. */
  letters(length: number): string {
    return Array.from({ length }, () => 'ABCabc0123-_'.charAt(this.below(12))).join('');
  }

  /** Makes one to three edits in a text. */
  damaged(text: string): string {
    let result = text;
    for (let edits = 1 + this.below(3); edits > 0; edits -= 1) {
      const at = this.below(result.length + 1);
      const [before, after] = [result.slice(0, at), result.slice(at)];
      const more = this.chance(0.2) ? this.hostile() : alphabet.charAt(this.below(alphabet.length));
      const edited = [
        before + more + after,
        before + after.slice(1),
        before + more + after.slice(1),
      ];
      result = this.pick([...edited, before, text + text, after.slice(0, 1) + before + after]);
    }
    return result;
  }
}
