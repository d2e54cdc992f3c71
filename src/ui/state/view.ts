import { computed, signal } from '@preact/signals';
import { type Filter, readView, type Sort, type View, viewQuery, wholeView } from './address.js';

/** The path of the dashboard. Only the query of the address changes. */
const here = location.pathname;
const first = readView(location.search);

/** Parameters of the address with invalid values. */
export const ignoredParameters = first.refused;
/** What the page shows at present. */
export const view = signal(first.view);
/**
 * The name of the page. It changes less often than the view, so that fewer components are redrawn.
 */
export const page = computed(() => view.value.view);
/** The scroll position to restore once the page is loaded. */
export const scrollTarget = signal<number | undefined>(undefined);

/** State of an entry of the browser history. */
interface Kept {
  scroll?: number;
  /** Cursors of the previous pages of the list. */
  before?: readonly (string | null)[];
}

const kept = (): Kept => (history.state ?? {}) as Kept;

/** Cursors of the previous pages of the list. The first page is null. */
export const pagesBefore = signal<readonly (string | null)[]>(kept().before ?? []);

/** Returns the address of the present view with a change. */
export function linkTo(change: Partial<View>): string {
  return here + viewQuery({ ...view.value, ...change });
}

/** Returns the address of a page with only these filters. The time zone stays. */
export function linkToPage(change: Partial<View>): string {
  return here + viewQuery({ ...fresh(), ...change });
}

function fresh(): View {
  return { ...wholeView, tz: view.peek().tz, others: view.peek().others };
}

/** Opens a page with only these filters. */
export function goTo(change: Partial<View>): void {
  show({ ...fresh(), ...change });
}

/** Changes the view and the address. With `replace`, Back skips the present view. */
export function show(
  change: Partial<View>,
  { replace = false, before }: { replace?: boolean; before?: readonly (string | null)[] } = {},
): void {
  const next = { ...view.peek(), ...change };
  const steps = before ?? (next.cursor === view.peek().cursor ? pagesBefore.peek() : []);
  const address = here + viewQuery(next);
  if (replace) history.replaceState({ ...kept(), before: steps }, '', address);
  else {
    history.replaceState({ ...kept(), scroll: window.scrollY }, '');
    history.pushState({ before: steps }, '', address);
    if (next.view !== view.peek().view) scrollTarget.value = 0;
  }
  pagesBefore.value = steps;
  view.value = next;
}

/** Changes the filters or the sort order, and shows the first page of the list. */
export function filterBy(
  change: Partial<Filter> & { sort?: Sort },
  options: { replace?: boolean } = {},
): void {
  const onList = view.peek().view === 'tasks';
  show(
    { ...change, view: 'tasks', cursor: undefined },
    { ...options, replace: (options.replace ?? false) && onList, before: [] },
  );
}

/** Follows the Back and Forward buttons of the browser. */
export function watchHistory(): void {
  history.scrollRestoration = 'manual';
  window.addEventListener('popstate', () => {
    pagesBefore.value = kept().before ?? [];
    scrollTarget.value = kept().scroll ?? 0;
    view.value = readView(location.search).view;
  });
}
