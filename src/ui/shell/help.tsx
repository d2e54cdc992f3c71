import { openDialog } from '../kit/dialog.js';
import { pageNames, pages } from '../state/pages.js';
import { ShortcutsSwitch } from '../state/shortcuts-switch.js';

const keys: readonly (readonly [keys: string, what: string])[] = [
  ['Ctrl K, ⌘ K', 'go to a page, a function, a queue, a task'],
  ['/', 'search'],
  [
    `g then ${pageNames.map((name) => pages[name].key).join(' ')}`,
    pageNames.map((name) => pages[name].label.toLowerCase()).join(', '),
  ],
  ['j k, ↓ ↑', 'next row, previous row; next or previous task if one is open'],
  ['Enter', 'open the task of the row'],
  ['x, Shift x', 'select a row, select all rows up to it'],
  ['*', 'select all on the page'],
  ['r', 'retry'],
  ['e', 'edit and retry'],
  ['c', 'cancel'],
  ['y, l', 'copy the id, the link'],
  ['[ ]', 'newer page, older page'],
  ['1 2 3 4', 'summary, logs, data, facts of the open task'],
  ['p', 'pause, resume'],
  ['d', 'theme'],
  ['u', 'UTC, or your own time zone'],
  ['?', 'this list'],
  ['Esc', 'close the topmost dialog, menu or task'],
];

/** Opens the list of shortcuts. */
export function showHelp(): void {
  void openDialog('Keyboard shortcuts', (close) => (
    <form method="dialog" onSubmit={close}>
      <h2>Keyboard shortcuts</h2>
      <dl class="keys">
        {keys.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <ShortcutsSwitch />
      <div class="dialog-buttons">
        <button type="submit" class="primary">
          Close
        </button>
      </div>
    </form>
  ));
}
