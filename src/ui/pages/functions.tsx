import { useEffect } from 'preact/hooks';
import type { FunctionList } from '../../client/client.js';
import { Coverage } from '../kit/coverage.js';
import { duration, percent, plural, whole } from '../kit/formats.js';
import { When } from '../kit/states.js';
import { actionsColumn, type Column, DataTable } from '../kit/table.js';
import { loaded } from '../live/loaded.js';
import { client, may } from '../state/bootstrap.js';
import { FunctionLink, PageLink } from '../state/links.js';
import { page, view } from '../state/view.js';
import { retryFailedSince } from './failures/retry-failed.js';
import { RangeChoice, stretchOf } from './range.js';
import { RunHistory } from './run-history.js';

const functions = loaded(
  (signal) => client.functions({ from: stretchOf(view.peek().range).range }, signal),
  () => page.peek() === 'functions',
);
const runsShown = 50;

type Item = FunctionList['items'][number];

type Settings = NonNullable<Item['settings']>;

/** The text about each setting; empty for a value that needs none, such as most defaults. */
const settingTexts: {
  readonly [K in keyof Settings]: (value: Settings[K], all: Settings) => string;
} = {
  handled: (value) => (value ? '' : 'runs in another process'),
  queue: (value) => (value === 'default' ? '' : `queue ${value}`),
  priority: (value) => (value === 0 ? '' : `priority ${value}`),
  tags: (value) =>
    Object.entries(value)
      .map((tag) => `tag ${tag.join(':')}`)
      .join(' · '),
  retries: (value) => (value === 0 ? 'no retry' : `${value} ${value === 1 ? 'retry' : 'retries'}`),
  delay: (value, { retries }) => (retries > 0 && value > 0 ? `after ${duration(value)}` : ''),
  backoff: (value, { retries }) => {
    if (retries === 0 || value === 1) return '';
    return value === 'function' ? 'delay by a function' : `× ${value}`;
  },
  maxDelay: (value, { retries, delay }) =>
    retries === 0 || value === Math.max(day, delay) ? '' : `at most ${duration(value)}`,
  jitter: (value, { retries }) =>
    retries === 0 || value === 0 ? '' : `${percent(value)} of the delay random`,
  retryOn: (value) => (value === null ? '' : 'retries some errors only'),
  timeout: (value) => (value === null ? '' : `timeout ${duration(value)}`),
  deadline: (value) => (value === null ? '' : `deadline ${duration(value)}`),
  concurrency: (value) => (value === null ? '' : `${value} at once`),
  requeueOnInterrupt: (value) => (value ? 'runs again after a crash' : ''),
  maxInterrupts: (value, { requeueOnInterrupt }) =>
    requeueOnInterrupt ? `at most ${plural(value, 'time')}` : '',
  cancelGrace: (value) => (value === 5 ? '' : `${duration(value)} to stop`),
};
const day = 86_400;

function textOf<K extends keyof Settings>(name: K, settings: Settings): string {
  return settingTexts[name](settings[name], settings);
}

function settingsOf({ settings }: Item): string[] {
  if (!settings) return ['not defined in this process'];
  const names = Object.keys(settingTexts) as (keyof Settings)[];
  return names.map((name) => textOf(name, settings)).filter((text) => text !== '');
}

const columns: readonly Column<Item>[] = [
  {
    header: 'Function',
    isRowHeader: true,
    cell: (item) => (
      <>
        <FunctionLink name={item.name} />
        <span class="under faint">{settingsOf(item).join(' · ')}</span>
      </>
    ),
  },
  {
    header: 'Ended',
    cell: ({ counts: { success, failed, interrupted, cancelled } }) =>
      whole(success + failed + interrupted + cancelled),
  },
  { header: 'Failed', cell: (item) => <FailedCount item={item} /> },
  { header: 'Success', cell: ({ successRate }) => percent(successRate) },
  { header: 'Waiting', cell: ({ counts }) => whole(counts.pending) },
  { header: 'Running', cell: ({ counts }) => whole(counts.running) },
  { header: 'p50', cell: ({ durations }) => duration(durations.p50) || '—' },
  { header: 'p95', cell: ({ durations }) => duration(durations.p95) || '—' },
  { header: 'p99', cell: ({ durations }) => duration(durations.p99) || '—' },
  { header: 'Last runs', cell: ({ name }) => <RunHistory name={name} limit={runsShown} /> },
  actionsColumn(({ name, counts }) => {
    const { seconds, words } = stretchOf(view.value.range);
    if (!may('retry') || counts.failed === 0) return null;
    return (
      <button
        type="button"
        onClick={() => void retryFailedSince(seconds, `in the last ${words}`, name)}
      >
        Retry failed…
      </button>
    );
  }),
];

function FailedCount({ item: { name, counts } }: { item: Item }) {
  if (counts.failed === 0) return <>0</>;
  const { range } = stretchOf(view.value.range);
  return (
    <PageLink to={{ view: 'tasks', name, status: ['failed'], from: range }} class="bad">
      {whole(counts.failed)}
    </PageLink>
  );
}

/** The page with the functions, their outcomes and their settings. */
export function FunctionsPage() {
  const { range, words } = stretchOf(view.value.range);
  useEffect(() => void functions.load(), [range]);
  return (
    <>
      <div class="filters">
        <RangeChoice />
      </div>
      <When source={functions} what="The functions">
        {({ items, completeSince }) =>
          items.length === 0 ? (
            <p class="empty">No function is known yet.</p>
          ) : (
            <>
              <Coverage since={completeSince} />
              <DataTable
                caption={`Functions, with the counts of the last ${words}`}
                columns={columns}
                rows={items}
                keyOf={({ name }) => name}
              />
            </>
          )
        }
      </When>
    </>
  );
}
