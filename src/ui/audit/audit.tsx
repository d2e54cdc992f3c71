import { useEffect, useState } from 'preact/hooks';
import type { AuditPage as Page } from '../../client/client.js';
import type { View } from '../address.js';
import { client, facts } from '../facts.js';
import { shortId } from '../format.js';
import { ChangeLink } from '../links.js';
import { loaded } from '../live/loaded.js';
import { complain } from '../shell/notices.js';
import { When } from '../states.js';
import { ranges } from '../task-list/saved-views.js';
import { Time } from '../time.js';
import { page, show, view } from '../view.js';
import { Sessions } from './sessions.js';

type Event = Page['items'][number];

function query(): Parameters<typeof client.audit>[0] {
  const { actor, action, outcome, from } = view.peek();
  return {
    limit: 50,
    ...(actor !== undefined && { actor }),
    ...(action !== undefined && { action }),
    ...(outcome !== undefined && { outcome }),
    ...(from !== undefined && { from }),
  };
}

const trail = loaded(
  (signal) => client.audit(query(), signal),
  () => page.peek() === 'audit' && facts.audited,
);

function Field({ label, value, name }: { label: string; value: string | undefined; name: 'actor' | 'action' }) {
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

function AuditRow({ event }: { event: Event }) {
  const { at, actor, action, outcome, ip, tasks = [], detail = {} } = event;
  return (
    <tr>
      <td data-label="Time">
        <Time at={at} />
      </td>
      <th scope="row">{actor ?? 'nobody'}</th>
      <td data-label="From">{ip}</td>
      <td data-label="What">{action.replaceAll('_', ' ')}</td>
      <td data-label="Result">
        <span class={`badge ${outcome === 'done' ? 'success' : outcome === 'refused' ? 'interrupted' : 'failed'}`}>{outcome}</span>
      </td>
      <td data-label="Tasks">
        {tasks.slice(0, 3).map((id) => (
          <ChangeLink key={id} change={{ task: id }}>
            <span class="mono">{shortId(id)}</span>{' '}
          </ChangeLink>
        ))}
        {tasks.length > 3 && (
          <details>
            <summary>and {tasks.length - 3} more</summary>
            {tasks.slice(3).map((id) => (
              <ChangeLink key={id} change={{ task: id }}>
                <span class="mono">{shortId(id)}</span>{' '}
              </ChangeLink>
            ))}
          </details>
        )}
      </td>
      <td class="detail-cell">
        {Object.entries(detail)
          .map(([key, value]) => `${key}: ${value}`)
          .join(', ')}
      </td>
    </tr>
  );
}

const outcomes: readonly View['outcome'][] = ['done', 'refused', 'failed'];

function Trail() {
  const { actor, action, outcome, from } = view.value;
  const [more, setMore] = useState<Page | undefined>(undefined);
  useEffect(() => {
    setMore(undefined);
    void trail.load();
  }, [actor, action, outcome, from]);
  const next = more ? more.nextCursor : (trail.value.value?.nextCursor ?? null);
  const loadMore = async (): Promise<void> => {
    try {
      const { items, nextCursor } = await client.audit({ ...query(), cursor: next ?? '' });
      setMore({ items: [...(more?.items ?? []), ...items], nextCursor });
    } catch (error) {
      complain(error);
    }
  };
  return (
    <>
      <div class="filters">
        <Field label="Who" value={actor} name="actor" />
        <Field label="What, such as retry" value={action} name="action" />
        <label>
          <span class="unseen">Result</span>
          <select
            value={outcome ?? ''}
            onChange={(event) => show({ outcome: (event.currentTarget.value || undefined) as View['outcome'] }, { replace: true })}
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
          <select value={from ?? ''} onChange={(event) => show({ from: event.currentTarget.value || undefined }, { replace: true })}>
            <option value="">any time</option>
            {ranges.map(([value, words]) => (
              <option key={value} value={value}>
                {words}
              </option>
            ))}
          </select>
        </label>
      </div>
      <When source={trail} what="The audit">
        {({ items }) =>
          items.length === 0 ? (
            <p class="empty">Nothing is recorded for this.</p>
          ) : (
            <table>
              <caption>Who did what, the last first</caption>
              <thead>
                <tr>
                  {['Time', 'Who', 'From', 'What', 'Result', 'Tasks', 'Detail'].map((head) => (
                    <th key={head} scope="col">
                      {head}
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {[...items, ...(more?.items ?? [])].map((event, n) => (
                  <AuditRow key={`${event.at} ${event.requestId} ${n}`} event={event} />
                ))}
              </tbody>
            </table>
          )
        }
      </When>
      {next !== null && (
        <nav class="pages" aria-label="Pages">
          <button type="button" onClick={() => void loadMore()}>
            More
          </button>
        </nav>
      )}
    </>
  );
}

/** Who did what, and who is signed in. */
export function AuditPage() {
  return (
    <>
      {facts.audited && <Trail />}
      {facts.loginUrl !== null && <Sessions />}
    </>
  );
}
