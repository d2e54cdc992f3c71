import { useEffect, useState } from 'preact/hooks';
import { showError } from '../kit/notices.js';
import type { Loaded } from './loaded.js';

interface Page<T> {
  items: readonly T[];
  nextCursor: string | null;
}

interface Pages<T> {
  source: Loaded<Page<T>>;
  /** Loads the page at this cursor. */
  ask(cursor: string): Promise<Page<T>>;
  keyOf(item: T): string;
  /** Identifies the list. When it changes, the first page is shown. */
  list: string;
}

/**
 * Returns a list whose first page is kept up to date while the user adds further pages. Items that
 * leave the first page stay in the list, and no item appears twice.
 */
export function usePages<T>({ source, ask, keyOf, list }: Pages<T>): {
  items: readonly T[];
  more: (() => void) | undefined;
} {
  const [kept, keep] = useState<Page<T> | undefined>(undefined);
  useEffect(() => {
    keep(undefined);
    void source.load();
  }, [list]);
  const first = source.value.value;
  // Items of the first page are more recent than those of added pages, so they win.
  const byKey = new Map<string, T>();
  for (const item of [...(first?.items ?? []), ...(kept?.items ?? [])])
    if (!byKey.has(keyOf(item))) byKey.set(keyOf(item), item);
  const shown = [...byKey.values()];
  const next = (kept ?? first)?.nextCursor ?? null;
  const add = async (cursor: string): Promise<void> => {
    try {
      const page = await ask(cursor);
      keep({ items: [...shown, ...page.items], nextCursor: page.nextCursor });
    } catch (error) {
      showError(error);
    }
  };
  return { items: shown, more: next === null ? undefined : () => void add(next) };
}
