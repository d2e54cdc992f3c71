import type { Database } from '../schema/database.js';
import { countedTag, type Source } from './sources.js';

/** Words that are looked for, and tags that have them all. */
const most = { words: 20, tags: 30 };
/**
 * Different tags that are gone through for words; those past them are found when they are the text.
 */
const tagsRead = 10_000;

/**
 * Where a text may be found: names and failures that have all of its words, tags whose value does
 * or that are the text, and the beginning of ids. `named` gives the tasks of the names that have
 * some words.
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

/** The words of a text, as the word index takes it apart. */
function wordsOf(text: string): string[] {
  return (text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []).slice(0, most.words);
}

/** Whether the word index takes it for one word: its Unicode is older than that of this process. */
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
 * Tags that are the text, as a key, a value, or both, and those whose value has all of the words.
 */
function tagsOf(
  database: Database,
  text: string,
  words: readonly string[],
): { key: string; value?: string }[] {
  const [key = '', ...value] = text.split(':');
  const exact = value.length > 0 ? { key, value: value.join(':') } : { key };
  const having = words.map(() => 'value LIKE ?').join(' AND ') || 'FALSE';
  const rows = database.all(
    `SELECT key, value FROM tag_count WHERE value = ?
     UNION SELECT key, value FROM (SELECT key, value FROM tag_count LIMIT ?) WHERE ${having}
       LIMIT ?`,
    text,
    tagsRead,
    ...words.map((word) => `%${word}%`),
    most.tags,
  );
  const found = rows.map((row) => ({ key: String(row.key), value: String(row.value) }));
  return found.some((tag) => tag.key === exact.key && tag.value === exact.value)
    ? found
    : [...found, exact];
}
