import { signal } from '@preact/signals';
import { useState } from 'preact/hooks';
import { noFilter, readView, type View, viewQuery } from '../../state/address.js';
import { PageLink } from '../../state/links.js';
import { view } from '../../state/view.js';

/** The periods that filters offer. */
export const ranges: readonly (readonly [string, string])[] = [
  ['-15m', 'last 15 min'],
  ['-1h', 'last hour'],
  ['-6h', 'last 6 h'],
  ['-24h', 'last 24 h'],
  ['-7d', 'last 7 days'],
  ['-30d', 'last 30 days'],
];

interface Saved {
  name: string;
  query: string;
}

const key = 'tf-views';
const maxSaved = 50;

const builtIn: readonly (readonly [string, Partial<View>])[] = [
  ['Failed, last hour', { status: ['failed'], from: '-1h' }],
  ['Interrupted', { status: ['interrupted'] }],
  ['Running longest', { status: ['running'], sort: 'startedAt' }],
  ['Waiting longest', { status: ['pending'], sort: 'createdAt' }],
  ['Slowest of today', { status: ['success'], from: '-24h', sort: '-duration' }],
];

function read(): Saved[] {
  try {
    const list: unknown = JSON.parse(localStorage.getItem(key) ?? '[]');
    return Array.isArray(list)
      ? list.filter(
          (each): each is Saved =>
            typeof each?.name === 'string' && typeof each?.query === 'string',
        )
      : [];
  } catch {
    return [];
  }
}

const saved = signal<readonly Saved[]>(read());

function keep(list: readonly Saved[]): void {
  saved.value = list.slice(-maxSaved);
  try {
    localStorage.setItem(key, JSON.stringify(saved.value));
  } catch {
    // The browser does not allow storage, so the views last until the page is closed.
  }
}

/**
 * The named views of the list: five built-in views, and those that the user saved in this browser.
 */
export function SavedViews() {
  const [name, setName] = useState('');
  const save = (event: Event): void => {
    event.preventDefault();
    if (name.trim() === '') return;
    const query = viewQuery({
      ...view.peek(),
      view: 'tasks',
      task: undefined,
      tab: 'summary',
      cursor: undefined,
    });
    keep([
      ...saved.peek().filter((each) => each.name !== name.trim()),
      { name: name.trim(), query },
    ]);
    setName('');
  };
  return (
    <details class="menu">
      <summary>Views ▾</summary>
      <div class="menu-items">
        {builtIn.map(([each, change]) => (
          <PageLink key={each} to={{ view: 'tasks', ...noFilter, ...change }}>
            {each}
          </PageLink>
        ))}
        {saved.value.map(({ name: each, query }) => (
          <span key={each} class="menu-row">
            <PageLink to={readView(query).view}>{each}</PageLink>
            <button
              type="button"
              class="quiet"
              aria-label={`Forget ${each}`}
              onClick={() => keep(saved.peek().filter((other) => other.name !== each))}
            >
              ✕
            </button>
          </span>
        ))}
        <form class="menu-row" onSubmit={save}>
          <input
            aria-label="Name for this view"
            placeholder="Save this view as…"
            value={name}
            maxLength={60}
            onInput={(event) => setName(event.currentTarget.value)}
          />
          <button type="submit">Save view</button>
        </form>
      </div>
    </details>
  );
}
