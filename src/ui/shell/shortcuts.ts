import { copy } from '../kit/copy.js';
import { isDialogOpen } from '../kit/dialog.js';
import { togglePause } from '../live/connection.js';
import { loadLazy } from '../pages/load-lazy.js';
import { opened } from '../pages/task/opened.js';
import { closePanel, step } from '../pages/task/panel.js';
import { cancelTask, retryTask } from '../pages/task-list/actions.js';
import { nextPage, pageBefore, shownTasks } from '../pages/task-list/list.js';
import { clearSelection, selected, toggle, toggleAll } from '../pages/task-list/selection.js';
import { tabs } from '../state/address.js';
import { may } from '../state/bootstrap.js';
import { type PageName, pageNames, pages } from '../state/pages.js';
import { shortcutsOn } from '../state/preferences.js';
import { nextTheme } from '../state/theme.js';
import { goTo, linkTo, show, view } from '../state/view.js';
import { toggleZone } from './header.js';
import { showHelp } from './help.js';
import { openPalette } from './palette.js';

/** Pages by the key that opens them after `g`. */
const pageOfKey = new Map<string, PageName>(pageNames.map((name) => [pages[name].key, name]));

const rows = (): HTMLElement[] => [...document.querySelectorAll<HTMLElement>('tr[data-task] th a')];

/**
 * Moves the focus to the next or previous row. If a task is open, opens the next or previous task.
 */
function move(by: 1 | -1): void {
  if (view.peek().task !== undefined) {
    step(by);
    return;
  }
  const links = rows();
  const at = links.indexOf(document.activeElement as HTMLElement);
  const next =
    links[
      at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + by))
    ];
  next?.focus();
  next?.closest('tr')?.scrollIntoView({ block: 'nearest' });
}

/** Returns the id of the open task, or of the row with the focus. */
function presentId(): string | undefined {
  return (
    view.peek().task ?? document.activeElement?.closest<HTMLElement>('tr[data-task]')?.dataset.task
  );
}

function onTask(act: (task: ReturnType<typeof shownTasks>[number]) => void): void {
  const id = presentId();
  const task =
    opened.peek()?.id === id ? opened.peek() : shownTasks().find((each) => each.id === id);
  if (task) act(task);
}

const order = (): string[] => shownTasks().map(({ id }) => id);

const single: Readonly<Record<string, (event: KeyboardEvent) => void>> = {
  '?': showHelp,
  '/': () => document.getElementById('search')?.focus(),
  j: () => move(1),
  k: () => move(-1),
  x: () => onTask(({ id }) => toggle(id, order())),
  X: () => onTask(({ id }) => toggle(id, order(), true)),
  '*': () => toggleAll(order()),
  r: () => onTask((task) => may('retry') && void retryTask(task)),
  c: () => onTask((task) => may('cancel') && void cancelTask(task)),
  e: () => {
    const task = opened.peek();
    if (task?.endedAt && may('rerun')) void loadLazy().then((loaded) => loaded?.rerunTask(task));
  },
  y: () => onTask(({ id }) => copy(id, 'Id')),
  l: () => copy(location.origin + linkTo({}), 'Link'),
  '[': pageBefore,
  ']': nextPage,
  p: togglePause,
  d: nextTheme,
  u: toggleZone,
};

function closeTopmost(): void {
  const menu = document.querySelector<HTMLDetailsElement>('details.menu[open]');
  if (menu) menu.open = false;
  else if (view.peek().task !== undefined) closePanel();
  else if (selected.peek().size > 0) clearSelection();
}

const isField = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement &&
  (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) &&
  (target as HTMLInputElement).type !== 'checkbox';

let afterG = 0;
/** Milliseconds within which the user must press the key after `g`. */
const second = 1500;

/** Handles shortcuts as long as the page is open. */
export function listenToKeys(): void {
  document.addEventListener('keydown', (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
      event.preventDefault();
      openPalette();
      return;
    }
    if (
      event.defaultPrevented ||
      event.ctrlKey ||
      event.metaKey ||
      event.altKey ||
      isDialogOpen() ||
      document.querySelector('dialog[open]')
    )
      return;
    if (event.key === 'Escape')
      return isField(event.target) ? (event.target as HTMLElement).blur() : closeTopmost();
    if (isField(event.target) || !shortcutsOn.value) return;
    const pageAfterG = Date.now() - afterG < second ? pageOfKey.get(event.key) : undefined;
    if (pageAfterG) {
      afterG = 0;
      goTo({ view: pageAfterG });
    } else if (event.key === 'g') afterG = Date.now();
    else if (view.peek().task !== undefined && /^[1-4]$/.test(event.key))
      show({ tab: tabs[Number(event.key) - 1] ?? 'summary' }, { replace: true });
    else if (
      (event.key === 'ArrowDown' || event.key === 'ArrowUp') &&
      document.activeElement?.closest('tr[data-task]')
    )
      move(event.key === 'ArrowDown' ? 1 : -1);
    else if (Object.hasOwn(single, event.key)) single[event.key]?.(event);
    else return;
    event.preventDefault();
  });
  // A menu closes when the user clicks elsewhere.
  document.addEventListener('click', (event) => {
    for (const menu of document.querySelectorAll<HTMLDetailsElement>('details.menu[open]'))
      if (
        !menu.contains(event.target as Node) ||
        (event.target as Element).closest('.menu-items a, .menu-items > button')
      )
        menu.open = false;
  });
}
