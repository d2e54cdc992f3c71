import { useEffect, useRef, useState } from 'preact/hooks';
import { statuses, symbols } from '../../kit/statuses.js';
import {
  filterOf,
  isFiltered,
  maxName,
  noFilter,
  type Sort,
  sortKeys,
} from '../../state/address.js';
import { client, may } from '../../state/bootstrap.js';
import { PageLink } from '../../state/links.js';
import { pageSize } from '../../state/preferences.js';
import { filterBy, page, view } from '../../state/view.js';
import { actOnFilter } from './bulk-actions.js';
import { filterWords } from './empty.js';
import { functions, queues, table } from './list.js';
import { ranges, SavedViews } from './saved-views.js';

const typingPause = 250;

function Search() {
  const asked = view.value.q ?? '';
  const [text, setText] = useState(asked);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  // The address also changes through Back, links and cleared filters.
  useEffect(() => setText(asked), [asked]);
  const search = (value: string, replace: boolean): void => {
    clearTimeout(timer.current);
    filterBy({ q: value.trim() || undefined }, { replace });
  };
  return (
    <form
      class="search"
      onSubmit={(event) => {
        event.preventDefault();
        search(text, false);
      }}
    >
      <input
        id="search"
        type="search"
        aria-label="Search id, name, tag, error"
        placeholder="Search id, name, tag, error…"
        value={text}
        maxLength={maxName}
        onInput={(event) => {
          const { value } = event.currentTarget;
          setText(value);
          clearTimeout(timer.current);
          if (page.peek() === 'tasks')
            timer.current = setTimeout(() => search(value, true), typingPause);
        }}
      />
    </form>
  );
}

function States() {
  const { status } = view.value;
  return (
    <fieldset class="states">
      <legend class="unseen">State</legend>
      {statuses.map((each) => {
        const chosen = status.includes(each);
        return (
          <button
            key={each}
            type="button"
            class={`chip ${each}`}
            aria-pressed={chosen}
            onClick={() =>
              filterBy({
                status: chosen ? status.filter((other) => other !== each) : [...status, each],
              })
            }
          >
            <span aria-hidden="true">{symbols[each]}</span> {each}
          </button>
        );
      })}
    </fieldset>
  );
}

interface Choice {
  label: string;
  value: string | undefined;
  options: readonly (readonly [value: string, text: string])[];
  none: string;
  choose: (value: string | undefined) => void;
}

function Select({ label, value, options, none, choose }: Choice) {
  // A value in the address is offered even if no known task has it.
  const all =
    value !== undefined && !options.some(([each]) => each === value)
      ? [[value, value] as const, ...options]
      : options;
  return (
    <select
      aria-label={label}
      value={value ?? ''}
      class={value === undefined ? '' : 'set'}
      onChange={(event) => choose(event.currentTarget.value || undefined)}
    >
      <option value="">{none}</option>
      {all.map(([each, text]) => (
        <option key={each} value={each}>
          {text}
        </option>
      ))}
    </select>
  );
}

const plain = (names: readonly string[]): (readonly [string, string])[] =>
  names.map((name) => [name, name]);

function TagField() {
  const [text, setText] = useState('');
  return (
    <form
      class="tag-field"
      onSubmit={(event) => {
        event.preventDefault();
        const tag = text.trim().replace('=', ':');
        if (tag !== '' && !view.peek().tag.includes(tag))
          filterBy({ tag: [...view.peek().tag, tag] });
        setText('');
      }}
    >
      <input
        aria-label="Tag, as key or key:value"
        placeholder="Tag key:value"
        value={text}
        size={13}
        maxLength={320}
        pattern="[^:=]{1,64}([:=].{1,256})?"
        onInput={(event) => setText(event.currentTarget.value)}
      />
    </form>
  );
}

/** The filters that have no field, each with a button that clears it. */
function Chips() {
  const { tag, fingerprint, schedule, from, to } = view.value;
  const chips: { text: string; clear: () => void }[] = [
    ...tag.map((each) => ({
      text: `tag ${each}`,
      clear: () => filterBy({ tag: tag.filter((other) => other !== each) }),
    })),
    ...(fingerprint
      ? [
          {
            text: `${filterWords.fingerprint} ${fingerprint.slice(0, 6)}…`,
            clear: () => filterBy({ fingerprint: undefined }),
          },
        ]
      : []),
    ...(schedule
      ? [{ text: `schedule ${schedule}`, clear: () => filterBy({ schedule: undefined }) }]
      : []),
    ...(to || (from && !ranges.some(([each]) => each === from))
      ? [
          {
            text: `${from ?? '…'} to ${to ?? 'now'}`,
            clear: () => filterBy({ from: undefined, to: undefined }),
          },
        ]
      : []),
  ];
  return (
    <>
      {chips.map(({ text, clear }) => (
        <button
          key={text}
          type="button"
          class="chip set"
          onClick={clear}
          aria-label={`Clear ${text}`}
        >
          {text} <span aria-hidden="true">✕</span>
        </button>
      ))}
    </>
  );
}

const sortWords: Record<(typeof sortKeys)[number], string> = {
  createdAt: 'created',
  startedAt: 'started',
  endedAt: 'ended',
  duration: 'duration',
  name: 'name',
  status: 'state',
};

function Sorts() {
  return (
    <label class="sorts">
      <span class="unseen">Sort by</span>
      <select
        value={view.value.sort}
        onChange={(event) =>
          filterBy({ sort: event.currentTarget.value as Sort }, { replace: true })
        }
      >
        {sortKeys.flatMap((key) => [
          <option key={`-${key}`} value={`-${key}`}>
            {sortWords[key]} ↓
          </option>,
          <option key={key} value={key}>
            {sortWords[key]} ↑
          </option>,
        ])}
      </select>
    </label>
  );
}

/** Actions on all tasks that match the filters. */
function Whole() {
  const shown = view.value;
  const { status, tag, ...rest } = filterOf(shown);
  const query = { ...rest, status: [...status], tag: [...tag] };
  const address = (format: string): string =>
    client.url('/export', {
      format,
      ...query,
      ...(shown.sort !== '-createdAt' && { sort: shown.sort }),
    });
  const what = isFiltered(shown) ? 'the tasks that match the filters' : 'all tasks';
  const total = table.value?.total ?? 0;
  return (
    <details class="menu">
      <summary>All {total > 0 ? 'matching' : ''} ▾</summary>
      <div class="menu-items">
        {may('retry') && (
          <button type="button" onClick={() => void actOnFilter('retry', query, what)}>
            Retry all matching…
          </button>
        )}
        {may('cancel') && (
          <button type="button" onClick={() => void actOnFilter('cancel', query, what)}>
            Cancel all matching…
          </button>
        )}
        {may('delete') && (
          <button type="button" onClick={() => void actOnFilter('delete', query, what)}>
            Delete all matching…
          </button>
        )}
        <a href={address('csv')} download="">
          Export as CSV
        </a>
        <a href={address('ndjson')} download="">
          Export as NDJSON
        </a>
      </div>
    </details>
  );
}

/** The bar above the list: the filters, and the actions on all tasks that match. */
export function Filters() {
  const { name, queue, from, to } = view.value;
  const filtered = isFiltered(view.value);
  return (
    <div class="filters">
      <Search />
      <Select
        label="Function"
        value={name}
        options={plain(functions.value)}
        none="all functions"
        choose={(value) => filterBy({ name: value })}
      />
      <Select
        label="Queue"
        value={queue}
        options={plain(queues.value)}
        none="all queues"
        choose={(value) => filterBy({ queue: value })}
      />
      <Select
        label="Created"
        value={to === undefined ? from : undefined}
        options={ranges}
        none="any time"
        choose={(value) => filterBy({ from: value, to: undefined })}
      />
      <TagField />
      <States />
      <Chips />
      {filtered && (
        <button type="button" class="quiet" onClick={() => filterBy(noFilter)}>
          Clear filters
        </button>
      )}
      <span class="filters-end">
        <Sorts />
        <label class="rows">
          <span class="unseen">Rows</span>
          <select
            value={pageSize.value}
            onChange={(event) => (pageSize.value = Number(event.currentTarget.value))}
          >
            {[50, 100, 200].map((n) => (
              <option key={n} value={n}>
                {n} rows
              </option>
            ))}
          </select>
        </label>
        <SavedViews />
        <Whole />
        {page.value === 'overview' && (
          <PageLink to={{ view: 'tasks' }} class="button">
            All tasks
          </PageLink>
        )}
      </span>
    </div>
  );
}
