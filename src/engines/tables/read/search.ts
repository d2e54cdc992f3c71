import type { Database } from '../schema/database.js';
import { countedTag, type Source, type Tag } from './sources.js';

/** Maximum number of search words, and of tags that contain all of them. */
const most = { words: 20, tags: 30 };
/**
 * Maximum number of different tags that are scanned for the words. Beyond it, only tags that equal
 * the text are found.
 */
const tagsRead = 10_000;

/**
 * Returns the index scans that find a text:
 * - names and failures that contain all of its words,
 * - tags that equal the text or whose value contains all of its words,
 * - ids that begin with the text.
 *
 * `named` returns the scans of all names that contain the given words.
 */
export function searchSources(
  database: Database,
  text: string,
  named: (words: readonly string[]) => readonly Source[],
): Source[] {
  const words = wordsOf(text).filter((word) => isWord(database, word));
  const sources: Source[] = [];
  if (words.length > 0) {
    sources.push(
      {
        from: 'task',
        where: '',
        params: [],
        match: words.map((word) => `"${word}"`).join(' AND '),
      },
      ...named(words),
    );
  }
  sources.push(
    ...tagsOf(database, text, words)
      .map((tag) => countedTag(database, tag))
      .filter(({ n }) => n !== 0),
  );
  const digits = text.toLowerCase().replaceAll('-', '');
  if (/^[0-9a-f]{4,32}$/.test(digits)) {
    const [low, high] = ['0', 'f'].map((fill) => Buffer.from(digits.padEnd(32, fill), 'hex'));
    sources.push({
      from: 'task',
      where: 'task.id BETWEEN ? AND ?',
      params: [low ?? null, high ?? null],
    });
  }
  return sources;
}

/** Returns the words of a text, split as the word index splits them. */
function wordsOf(text: string): string[] {
  return (text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []).slice(0, most.words);
}

/**
 * Returns whether the word index accepts a word. Its version of Unicode is older than the one of
 * this process.
 */
function isWord(database: Database, word: string): boolean {
  if (/^[a-z0-9]+$/.test(word)) return true;
  try {
    database.get('SELECT 1 FROM failure WHERE failure MATCH ? LIMIT 1', `"${word}"`);
    return true;
  } catch {
    return false;
  }
}

/**
 * Returns the tags whose key, value or `key:value` equals the text, and those whose value contains
 * all of the words.
 */
function tagsOf(database: Database, text: string, words: readonly string[]): Tag[] {
  const [key = '', ...value] = text.split(':');
  const exact = value.length > 0 ? { key, value: value.join(':') } : { key };
  const having = words.map(() => 'value LIKE ?').join(' AND ') || 'FALSE';
  const found = database.all<Tag>(
    `SELECT key, value FROM tag_count WHERE value = ?
     UNION SELECT key, value FROM (SELECT key, value FROM tag_count LIMIT ?) WHERE ${having}
       LIMIT ?`,
    text,
    tagsRead,
    ...words.map((word) => `%${word}%`),
    most.tags,
  );
  return found.some((tag) => tag.key === exact.key && tag.value === exact.value)
    ? found
    : [...found, exact];
}
