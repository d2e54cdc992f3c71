import { signal } from '@preact/signals';
import type { TaskStatus } from '../client/client.js';
import { statuses } from './statuses.js';

/** What the page shows: everything of it stands in the address, so that a link shows the same. */
export interface View {
  status: readonly TaskStatus[];
  name: string | undefined;
  cursor: string | undefined;
  task: string | undefined;
}

function readView(search: string): View {
  const query = new URLSearchParams(search);
  return {
    status: query.getAll('status').filter((each): each is TaskStatus => (statuses as readonly string[]).includes(each)),
    name: query.get('name') ?? undefined,
    cursor: query.get('cursor') ?? undefined,
    task: query.get('task') ?? undefined,
  };
}

/** The address of a view; defaults are left out. */
export function viewQuery({ status, name, cursor, task }: View): string {
  const query = new URLSearchParams();
  for (const each of status) query.append('status', each);
  if (name !== undefined) query.set('name', name);
  if (cursor !== undefined) query.set('cursor', cursor);
  if (task !== undefined) query.set('task', task);
  return query.size === 0 ? location.pathname : `?${query}`;
}

/** What the page shows now. */
export const view = signal(readView(location.search));

/** Changes the view and the address with it; Back leads to the one before. */
export function show(change: Partial<View>): void {
  view.value = { ...view.value, ...change };
  history.pushState(null, '', viewQuery(view.value));
}

window.addEventListener('popstate', () => {
  view.value = readView(location.search);
});
