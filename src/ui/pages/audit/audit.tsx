import { useEffect, useState } from 'preact/hooks';
import type { AuditPage as Page } from '../../../client/client.js';
import { shortId } from '../../kit/formats.js';
import { When } from '../../kit/states.js';
import { type Column, DataTable, More } from '../../kit/table.js';
import { Time } from '../../kit/time.js';
import { loaded } from '../../live/loaded.js';
import { usePages } from '../../live/pages.js';
import type { View } from '../../state/address.js';
import { bootstrap, client, userText } from '../../state/bootstrap.js';
import { ChangeLink } from '../../state/links.js';
import { page, show, view } from '../../state/view.js';
import { ranges } from '../task-list/saved-views.js';
import { Sessions } from './sessions.js';

type Event = Page['items'][number];

/** Returns the filters in the address. */
function conditions() {
  const { actor, action, outcome, from } = view.peek();
  return {
    ...(actor !== undefined && { actor }),
    ...(action !== undefined && { action }),
    ...(outcome !== undefined && { outcome }),
    ...(from !== undefined && { from }),
  };
}

const trail = loaded(
  (signal) => client.audit({ ...conditions(), limit: 50 }, signal),
  () => page.peek() === 'audit' && bootstrap.audited,
);

function Field({
  label,
  value,
  name,
}: {
  label: string;
  value: string | undefined;
  name: 'actor' | 'action';
}) {
  const [text, setText] = useState(value ?? '');
  useEffect(() => setText(value ?? ''), [value]);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        show({ [name]: text.trim() || undefined }, { replace: true });
      }}
    >
      <input
        aria-label={label}
        placeholder={label}
        value={text}
        maxLength={256}
        size={12}
        onInput={(event) => setText(event.currentTarget.value)}
        onBlur={() => show({ [name]: text.trim() || undefined }, { replace: true })}
      />
    </form>
  );
}

/** The colour of each outcome, the same as in the badges of task states. */
const tones = { done: 'success', refused: 'interrupted', failed: 'failed' } as const;

/** Number of tasks of an event that are shown before the user opens the list. */
const tasksShown = 3;

function TaskLinks({ ids }: { ids: readonly string[] }) {
  return (
    <>
      {ids.map((id) => (
        <ChangeLink key={id} change={{ task: id }}>
          <span class="mono">{shortId(id)}</span>{' '}
        </ChangeLink>
      ))}
    </>
  );
}

const columns: readonly Column<Event>[] = [
  { header: 'Time', cell: ({ at }) => <Time at={at} /> },
  {
    header: 'Who',
    isRowHeader: true,
    cell: ({ actor, strategy }) =>
      actor === undefined ? 'not signed in' : userText(actor, strategy),
  },
  { header: 'From', cell: ({ ip }) => ip },
  { header: 'What', cell: ({ action }) => action.replaceAll('_', ' ') },
  {
    header: 'Result',
    cell: ({ outcome }) => <span class={`badge ${tones[outcome]}`}>{outcome}</span>,
  },
  {
    header: 'Tasks',
    cell: ({ tasks = [] }) => (
      <>
        <TaskLinks ids={tasks.slice(0, tasksShown)} />
        {tasks.length > tasksShown && (
          <details>
            <summary>and {tasks.length - tasksShown} more</summary>
            <TaskLinks ids={tasks.slice(tasksShown)} />
          </details>
        )}
      </>
    ),
  },
  {
    header: 'Detail',
    class: 'detail-cell',
    hideLabel: true,
    cell: ({ detail = {} }) =>
      Object.entries(detail)
        .map(([key, value]) => `${key}: ${value}`)
        .join(', '),
  },
];

const formats = ['csv', 'ndjson'] as const;

const outcomes: readonly View['outcome'][] = ['done', 'refused', 'failed'];

/** Returns the key of an event. A request records at most one event per time and action. */
const keyOfEvent = (event: Event): string =>
  JSON.stringify([event.at, event.requestId, event.action, event.tasks]);

function Trail() {
  const { actor, action, outcome, from } = view.value;
  const { items, more } = usePages({
    source: trail,
    ask: (cursor) => client.audit({ ...conditions(), limit: 50, cursor }),
    keyOf: keyOfEvent,
    list: JSON.stringify([actor, action, outcome, from]),
  });
  return (
    <>
      <div class="filters">
        <Field label="Who" value={actor} name="actor" />
        <Field label="Action, such as retry" value={action} name="action" />
        <label>
          <span class="unseen">Result</span>
          <select
            value={outcome ?? ''}
            onChange={(event) =>
              show(
                { outcome: (event.currentTarget.value || undefined) as View['outcome'] },
                { replace: true },
              )
            }
          >
            <option value="">any result</option>
            {outcomes.map((each) => (
              <option key={each} value={each}>
                {each}
              </option>
            ))}
          </select>
        </label>
        <label>
          <span class="unseen">Time</span>
          <select
            value={from ?? ''}
            onChange={(event) =>
              show({ from: event.currentTarget.value || undefined }, { replace: true })
            }
          >
            <option value="">any time</option>
            {ranges.map(([value, words]) => (
              <option key={value} value={value}>
                {words}
              </option>
            ))}
          </select>
        </label>
        <span class="spacer" />
        {formats.map((format) => (
          <a
            key={format}
            class="button quiet"
            href={client.url('/audit/export', { format, ...conditions() })}
            download
          >
            {format.toUpperCase()}
          </a>
        ))}
      </div>
      <When source={trail} what="The audit">
        {() =>
          items.length === 0 ? (
            <p class="empty">No recorded event matches.</p>
          ) : (
            <DataTable
              caption="Audit log, newest first"
              columns={columns}
              rows={items}
              keyOf={keyOfEvent}
            />
          )
        }
      </When>
      <More more={more} />
    </>
  );
}

/** The page with the audit log and the open sessions. */
export function AuditPage() {
  return (
    <>
      {bootstrap.audited && <Trail />}
      {bootstrap.loginUrl !== null && <Sessions />}
    </>
  );
}
