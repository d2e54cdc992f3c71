import { signal } from '@preact/signals';

/** Ids of the selected tasks. All of them are in the table. */
export const selected = signal<ReadonlySet<string>>(new Set());
/** The text that is announced when tasks are deselected without an action of the user. */
export const selectionNotice = signal('');

let anchor: string | undefined;

/**
 * Selects or deselects a task. With `range`, all tasks between it and the task that was toggled
 * last.
 */
export function toggle(id: string, order: readonly string[], range = false): void {
  const chosen = new Set(selected.peek());
  const on = !chosen.has(id);
  const from = anchor === undefined ? -1 : order.indexOf(anchor);
  const to = order.indexOf(id);
  const touched =
    range && from >= 0 && to >= 0 ? order.slice(Math.min(from, to), Math.max(from, to) + 1) : [id];
  for (const each of touched) {
    if (on) chosen.add(each);
    else chosen.delete(each);
  }
  anchor = id;
  selected.value = chosen;
  selectionNotice.value = '';
}

/** Selects all tasks of a page, or deselects them if all are selected. */
export function toggleAll(order: readonly string[]): void {
  const all = order.every((id) => selected.peek().has(id));
  selected.value = all ? new Set() : new Set(order);
  selectionNotice.value = '';
}

/** Deselects tasks that are no longer shown. */
export function unselect(ids: readonly string[]): void {
  const left = new Set(selected.peek());
  for (const id of ids) left.delete(id);
  const dropped = selected.peek().size - left.size;
  if (dropped === 0) return;
  selected.value = left;
  selectionNotice.value =
    left.size === 0
      ? 'The selection was cleared.'
      : `${dropped} no longer shown: ${left.size} selected.`;
}

/** Deselects all tasks, and announces `why` if there were any. */
export function clearSelection(why = ''): void {
  if (selected.peek().size > 0) selectionNotice.value = why;
  selected.value = new Set();
}
