import { computed, signal } from '@preact/signals';
import { type Filter, readView, type Sort, type View, viewQuery, wholeView } from './address.js';

/** The dashboard is one page: only what follows its path changes. */
const here = location.pathname;
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
  return here + viewQuery({ ...view.value, ...change });
}

/** The address of a page with nothing but these conditions; the zone stays. */
export function linkToPage(change: Partial<View>): string {
  return here + viewQuery({ ...fresh(), ...change });
}

function fresh(): View {
  return { ...wholeView, tz: view.peek().tz, others: view.peek().others };
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

/** Other conditions: the list begins at its first page. */
export function filterBy(change: Partial<Filter> & { sort?: Sort }, options: { replace?: boolean } = {}): void {
  const onList = view.peek().view === 'tasks';
  show({ ...change, view: 'tasks', cursor: undefined }, { ...options, replace: (options.replace ?? false) && onList, before: [] });
}

/** Follows Back and Forward of the browser. */
export function watchHistory(): void {
  history.scrollRestoration = 'manual';
  window.addEventListener('popstate', () => {
    pagesBefore.value = kept().before ?? [];
    scrollTarget.value = kept().scroll ?? 0;
    view.value = readView(location.search).view;
  });
}
