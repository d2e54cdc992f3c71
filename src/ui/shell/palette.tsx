import { useState } from 'preact/hooks';
import { openDialog } from '../kit/dialog.js';
import { togglePause } from '../live/connection.js';
import { functions, queues } from '../pages/task-list/list.js';
import { bootstrap } from '../state/bootstrap.js';
import { offeredPages, pages } from '../state/pages.js';
import { nextTheme } from '../state/theme.js';
import { goTo, show } from '../state/view.js';

interface Place {
  text: string;
  kind: string;
  go: () => void;
}

const maxShown = 12;
const isId = (text: string): boolean => /^[0-9a-f]{8}-[0-9a-f-]{27}$/i.test(text);

function places(text: string): Place[] {
  const all: Place[] = [
    ...offeredPages(bootstrap).map((name) => ({
      text: pages[name].label,
      kind: 'page',
      go: () => goTo({ view: name }),
    })),
    { text: 'Pause or resume', kind: 'action', go: togglePause },
    { text: 'Next theme', kind: 'action', go: nextTheme },
    ...functions.value.map((name) => ({
      text: name,
      kind: 'function',
      go: () => goTo({ view: 'tasks', name }),
    })),
    ...queues.value.map((queue) => ({
      text: queue,
      kind: 'queue',
      go: () => goTo({ view: 'tasks', queue }),
    })),
  ];
  const wanted = text.trim().toLowerCase();
  const found = all.filter(({ text: each, kind }) =>
    wanted.split(/\s+/).every((word) => `${each} ${kind}`.toLowerCase().includes(word)),
  );
  if (isId(wanted)) return [{ text: wanted, kind: 'task', go: () => show({ task: wanted }) }];
  const search: Place = {
    text: `Search for “${text.trim()}”`,
    kind: 'search',
    go: () => goTo({ view: 'tasks', q: text.trim() }),
  };
  return [...found.slice(0, maxShown), ...(wanted === '' ? [] : [search])];
}

/** Opens the command palette. */
export function openPalette(): void {
  void openDialog('Go to', (close) => <Palette close={close} />);
}

function Palette({ close }: { close: () => void }) {
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  const found = places(text);
  const choose = (place: Place | undefined): void => {
    close();
    place?.go();
  };
  const onKey = (event: KeyboardEvent): void => {
    const by = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    if (by === 0) return;
    event.preventDefault();
    setAt((at + by + found.length) % Math.max(1, found.length));
  };
  return (
    <form
      class="palette"
      onSubmit={(event) => {
        event.preventDefault();
        choose(found[at]);
      }}
    >
      <h2 class="unseen">Go to</h2>
      <input
        autofocus
        role="combobox"
        aria-expanded="true"
        aria-controls="places"
        aria-activedescendant={found.length > 0 ? `place-${at}` : undefined}
        aria-label="Page, function, queue, task id, or words to search for"
        placeholder="Page, function, queue, task id…"
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={onKey}
      />
      <div id="places" role="listbox" aria-label="Places">
        {found.map((place, n) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: the combobox input handles the keys.
          // biome-ignore lint/a11y/useFocusableInteractive: a combobox keeps focus in its input
          <div
            key={`${place.kind} ${place.text}`}
            id={`place-${n}`}
            role="option"
            aria-selected={n === at}
            onClick={() => choose(place)}
          >
            <span>{place.text}</span> <span class="faint">{place.kind}</span>
          </div>
        ))}
      </div>
    </form>
  );
}
