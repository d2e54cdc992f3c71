import { computed, signal } from '@preact/signals';
import type { TaskStatus } from '../client/client.js';
import { isZone } from './preferences.js';
import { statuses } from './statuses.js';

/** The pages, in the order of their links. */
export const pages = ['overview', 'tasks', 'failures', 'schedules', 'queues', 'functions', 'audit', 'settings'] as const;

export type PageName = (typeof pages)[number];

export const sortKeys = ['createdAt', 'startedAt', 'endedAt', 'duration', 'name', 'status'] as const;

/** What a list can be sorted by. */
export type Sort = `${'' | '-'}${(typeof sortKeys)[number]}`;

export const tabs = ['summary', 'logs', 'data', 'facts'] as const;

/** The parts of an open task. */
export type Tab = (typeof tabs)[number];

/** Which tasks a list shows. Names are those of the API. */
export interface Filter {
  status: readonly TaskStatus[];
  name: string | undefined;
  queue: string | undefined;
  tag: readonly string[];
  fingerprint: string | undefined;
  schedule: string | undefined;
  q: string | undefined;
  from: string | undefined;
  to: string | undefined;
}

/** What the page shows: everything of it stands in the address, so that a link shows the same. */
export interface View extends Filter {
  view: PageName;
  sort: Sort;
  cursor: string | undefined;
  task: string | undefined;
  tab: Tab;
  attempt: number | undefined;
  /** Time zone of all times. */
  tz: string | undefined;
  /** Stretch of the charts and sums of a page: `-1h`, `-6h`, `-24h`, `-7d`. */
  range: string | undefined;
  /** `all`: of the failures also those that nothing is failed by any more. */
  which: 'all' | undefined;
  /** Filters of the audit. */
  actor: string | undefined;
  action: string | undefined;
  outcome: 'done' | 'refused' | 'failed' | undefined;
  /** Parameters of somebody else: they are kept. */
  others: readonly (readonly [string, string])[];
}

export const noFilter: Filter = {
  status: [],
  name: undefined,
  queue: undefined,
  tag: [],
  fingerprint: undefined,
  schedule: undefined,
  q: undefined,
  from: undefined,
  to: undefined,
};

const empty: View = {
  ...noFilter,
  view: 'overview',
  sort: '-createdAt',
  cursor: undefined,
  task: undefined,
  tab: 'summary',
  attempt: undefined,
  tz: undefined,
  range: undefined,
  which: undefined,
  actor: undefined,
  action: undefined,
  outcome: undefined,
  others: [],
};

const aTime = /^(-\d{1,6}[smhd]|\d{4}-\d{2}-\d{2}(T[\d:.]+(Z|[+-]\d{2}:\d{2}))?)$/;
const text = (most: number) => (value: string) => value.length > 0 && value.length <= most;
const among = (values: readonly string[]) => (value: string) => values.includes(value);
const isSort = (value: string): boolean => among(sortKeys)(value.replace(/^-/, ''));

/** Which values each parameter may have. */
const accepts: Record<Exclude<keyof View, 'others'>, (value: string) => boolean> = {
  view: among(pages),
  status: among(statuses),
  name: text(128),
  queue: text(128),
  tag: (value) => /^[^:]{1,64}(:.{1,256})?$/su.test(value),
  fingerprint: (value) => /^[0-9a-f]{16}$/.test(value),
  schedule: text(128),
  q: text(200),
  from: (value) => aTime.test(value),
  to: (value) => aTime.test(value),
  sort: isSort,
  cursor: text(2000),
  task: (value) => /^[\w:.-]{1,256}$/.test(value),
  tab: among(tabs),
  attempt: (value) => /^[1-9]\d{0,5}$/.test(value),
  tz: isZone,
  range: among(['-1h', '-6h', '-24h', '-7d']),
  which: among(['all']),
  actor: text(256),
  action: text(256),
  outcome: among(['done', 'refused', 'failed']),
};

const lists = ['status', 'tag'];
const filterNames = Object.keys(noFilter) as readonly (keyof Filter)[];

/** Reads an address. Values that mean nothing are left out, and named. */
export function readView(search: string): { view: View; refused: readonly string[] } {
  const view: Record<string, unknown> = { ...empty };
  const others: [string, string][] = [];
  const refused: string[] = [];
  for (const [name, value] of new URLSearchParams(search)) {
    if (!Object.hasOwn(accepts, name)) others.push([name, value]);
    else if (!accepts[name as keyof typeof accepts](value)) refused.push(name);
    else if (lists.includes(name)) view[name] = [...new Set([...(view[name] as string[]), value])];
    else view[name] = name === 'attempt' ? Number(value) : value;
  }
  const read = { ...view, others } as unknown as View;
  // A list that is filtered is what was asked for, though no page is named.
  if (!new URLSearchParams(search).has('view') && isFiltered(read)) read.view = 'tasks';
  return { view: read, refused };
}

/** The parameters of a view: defaults are left out, names are sorted. */
export function viewQuery({ others, ...view }: View): string {
  const pairs: [string, string][] = others.map(([name, value]) => [name, value]);
  for (const [name, value] of Object.entries(view) as [keyof typeof view, unknown][]) {
    if (value === undefined || value === empty[name]) continue;
    for (const each of Array.isArray(value) ? value : [value]) pairs.push([name, String(each)]);
  }
  pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return pairs.length === 0 ? '' : `?${new URLSearchParams(pairs)}`;
}

/** Whether a list shows less than everything. */
export function isFiltered(filter: Filter): boolean {
  return filterNames.some((name) => (lists.includes(name) ? (filter[name] as readonly string[]).length > 0 : filter[name] !== undefined));
}

/** The conditions alone, as the API takes them. */
export function filterOf(view: View): Filter {
  return Object.fromEntries(filterNames.map((name) => [name, view[name]])) as unknown as Filter;
}

const first = readView(location.search);

/** Parameters of the address that meant nothing. */
export const refusedParameters = first.refused;
/** What the page shows now. */
export const view = signal(first.view);
/** The page alone: whoever shows it is not drawn anew by everything else. */
export const page = computed(() => view.value.view);
/** Where the page is to be scrolled to once what it shows is there. */
export const scrollTarget = signal<number | undefined>(undefined);

/** What is kept with an entry of the history. */
interface Kept {
  scroll?: number;
  /** Cursors of the pages before this one, so that there is a way back. */
  before?: readonly (string | null)[];
}

const kept = (): Kept => (history.state ?? {}) as Kept;

/** Cursors of the pages of the list before the present one; null is the first page. */
export const pagesBefore = signal<readonly (string | null)[]>(kept().before ?? []);

/** The address of what is shown with a change; for links. */
export function linkTo(change: Partial<View>): string {
  return location.pathname + viewQuery({ ...view.value, ...change });
}

/** The address of a page with nothing but these conditions; the zone stays. */
export function linkToPage(change: Partial<View>): string {
  return location.pathname + viewQuery({ ...fresh(), ...change });
}

function fresh(): View {
  return { ...empty, tz: view.peek().tz, others: view.peek().others };
}

/** Goes to a page, with nothing of the last one's conditions. */
export function goTo(change: Partial<View>): void {
  show({ ...fresh(), ...change });
}

/** Changes the view and the address with it; Back leads to the one before. With `replace` there is no way back to it. */
export function show(
  change: Partial<View>,
  { replace = false, before }: { replace?: boolean; before?: readonly (string | null)[] } = {},
): void {
  const next = { ...view.peek(), ...change };
  const steps = before ?? (next.cursor === view.peek().cursor ? pagesBefore.peek() : []);
  const address = location.pathname + viewQuery(next);
  if (replace) history.replaceState({ ...kept(), before: steps }, '', address);
  else {
    history.replaceState({ ...kept(), scroll: window.scrollY }, '');
    history.pushState({ before: steps }, '', address);
    if (next.view !== view.peek().view) scrollTarget.value = 0;
  }
  pagesBefore.value = steps;
  view.value = next;
}

/** Other conditions: the list begins at its first page. */
export function filterBy(change: Partial<Filter> & { sort?: Sort }, options: { replace?: boolean } = {}): void {
  const onList = view.peek().view === 'tasks';
  show({ ...change, view: 'tasks', cursor: undefined }, { ...options, replace: (options.replace ?? false) && onList, before: [] });
}

history.scrollRestoration = 'manual';
window.addEventListener('popstate', () => {
  pagesBefore.value = kept().before ?? [];
  scrollTarget.value = kept().scroll ?? 0;
  view.value = readView(location.search).view;
});
