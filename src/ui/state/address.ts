import type { TaskStatus } from '../../client/client.js';
import { statuses } from '../kit/statuses.js';
import { type PageName, pageNames } from './pages.js';

export const sortKeys = [
  'createdAt',
  'startedAt',
  'endedAt',
  'duration',
  'name',
  'status',
] as const;

/** The sort order of a list. `-` sorts in descending order. */
export type Sort = `${'' | '-'}${(typeof sortKeys)[number]}`;

export const tabs = ['summary', 'logs', 'data', 'facts'] as const;

/** The tabs of the panel of a task. */
export type Tab = (typeof tabs)[number];

/** The filters of a list. They have the names of the API. */
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

/** What the page shows. The address contains all of it, so that a link shows the same view. */
export interface View extends Filter {
  view: PageName;
  sort: Sort;
  cursor: string | undefined;
  task: string | undefined;
  tab: Tab;
  attempt: number | undefined;
  /** Time zone of all times. */
  tz: string | undefined;
  /** Period of the charts and sums of a page: `-1h`, `-6h`, `-24h`, `-7d`. */
  range: string | undefined;
  /** `all` also includes failure groups that no failed task belongs to any longer. */
  which: 'all' | undefined;
  /** Filters of the audit. */
  actor: string | undefined;
  action: string | undefined;
  outcome: 'done' | 'refused' | 'failed' | undefined;
  /** Parameters of other programs. The address keeps them. */
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

/** The view of an address without parameters. Addresses omit these values. */
export const wholeView: View = {
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
const text = (max: number) => (value: string) => value.length > 0 && value.length <= max;
/** Maximum length of an id or name in an address. BullMQ does not limit them. */
export const maxName = 4096;
/** Maximum length of a cursor, which may contain such an id in base64. */
const maxCursor = 6000;
const among = (values: readonly string[]) => (value: string) => values.includes(value);
const isSort = (value: string): boolean => among(sortKeys)(value.replace(/^-/, ''));

/** Checks the value of each parameter. */
const accepts: Record<Exclude<keyof View, 'others'>, (value: string) => boolean> = {
  view: among(pageNames),
  status: among(statuses),
  name: text(maxName),
  queue: text(maxName),
  tag: (value) => /^[^:]{1,64}(:.{1,256})?$/su.test(value),
  fingerprint: (value) => /^[0-9a-f]{16}$/.test(value),
  schedule: text(maxName),
  q: text(maxName),
  from: (value) => aTime.test(value),
  to: (value) => aTime.test(value),
  sort: isSort,
  cursor: text(maxCursor),
  task: text(maxName),
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

/**
 * Reads an address. Ignores parameters with invalid values and returns their names in `refused`.
 */
export function readView(search: string): { view: View; refused: readonly string[] } {
  const view: Record<string, unknown> = { ...wholeView };
  const others: [string, string][] = [];
  const refused: string[] = [];
  for (const [name, value] of new URLSearchParams(search)) {
    if (!Object.hasOwn(accepts, name)) others.push([name, value]);
    else if (!accepts[name as keyof typeof accepts](value)) refused.push(name);
    else if (lists.includes(name)) view[name] = [...new Set([...(view[name] as string[]), value])];
    else view[name] = name === 'attempt' ? Number(value) : value;
  }
  const read = { ...view, others } as unknown as View;
  // An address with filters but without a page means the list of tasks.
  if (read.view === wholeView.view && isFiltered(read)) read.view = 'tasks';
  return { view: read, refused };
}

/** Returns the query of a view. Omits default values and sorts the names. */
export function viewQuery({ others, ...view }: View): string {
  const pairs: [string, string][] = others.map(([name, value]) => [name, value]);
  for (const [name, value] of Object.entries(view) as [keyof typeof view, unknown][]) {
    if (value === undefined || value === wholeView[name]) continue;
    for (const each of Array.isArray(value) ? value : [value]) pairs.push([name, String(each)]);
  }
  pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return pairs.length === 0 ? '' : `?${new URLSearchParams(pairs)}`;
}

/** Whether a filter excludes tasks from a list. */
export function isFiltered(filter: Filter): boolean {
  return filterNames.some((name) =>
    lists.includes(name)
      ? (filter[name] as readonly string[]).length > 0
      : filter[name] !== undefined,
  );
}

/** Returns the filters of a view in the form of the API. */
export function filterOf(view: View): Filter {
  return Object.fromEntries(filterNames.map((name) => [name, view[name]])) as unknown as Filter;
}

/** Whether a time zone of this name exists. */
export function isZone(name: string): boolean {
  if (name === 'local') return true;
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
