import { useEffect, useState } from 'preact/hooks';
import type { OpenSession, SessionsQuery } from '../../../client/client.js';
import { confirmed } from '../../kit/dialog.js';
import { notify } from '../../kit/notices.js';
import { When } from '../../kit/states.js';
import { actionsColumn, type Column, DataTable } from '../../kit/table.js';
import { Time } from '../../kit/time.js';
import { loaded } from '../../live/loaded.js';
import { bootstrap, client, ownName, userText } from '../../state/bootstrap.js';
import { page } from '../../state/view.js';

/**
 * The user whose sessions are shown. An empty name means the signed-in user. An empty strategy
 * means all strategies.
 */
let whose = { username: '', strategy: '' };

function query(): SessionsQuery {
  const { username, strategy } = whose;
  if (username === '' && strategy === '') return {};
  return { username: username || (bootstrap.user ?? ''), ...(strategy !== '' && { strategy }) };
}

const sessions = loaded(
  () => client.sessions(query()),
  () => page.peek() === 'audit',
);

/** Returns the browser of a session in a few words. */
function device({ userAgent = '' }: OpenSession): string {
  const browser =
    /(Firefox|Edg|OPR|Chrome|Safari|curl)\/?/.exec(userAgent)?.[1] ?? 'Unknown browser';
  const system = /(Windows|Android|iPhone|iPad|Mac OS|Linux)/.exec(userAgent)?.[1];
  const name = browser.replace('Edg', 'Edge').replace('OPR', 'Opera');
  return system ? `${name} on ${system}` : name;
}

/**
 * Ends one session. The strategy is sent too, so that a user with the same name in another strategy
 * is not affected.
 */
function endSession({ id, username, strategy }: OpenSession): Promise<void> {
  return client.endSession(id, { username, strategy });
}

function end(session: OpenSession): Promise<void> {
  return confirmed({
    title: 'End this session?',
    body: () => (
      <p>
        The session of {userText(session.username, session.strategy)} ends at once:{' '}
        {device(session)}
        {session.ip && `, ${session.ip}`}.{session.current && ' It is your own.'}
      </p>
    ),
    button: () => 'End session',
    danger: true,
    async act() {
      await endSession(session);
      notify('The session is ended.');
      await sessions.load();
    },
  });
}

function endOthers(all: readonly OpenSession[]): Promise<void> {
  const others = all.filter(({ current }) => !current);
  const users = [
    ...new Set(others.map(({ username, strategy }) => userText(username, strategy))),
  ].join(', ');
  const number = others.length === 1 ? 'One other session' : `${others.length} other sessions`;
  return confirmed({
    title: 'End all other sessions?',
    body: () => (
      <p>
        {number} of {users} {others.length === 1 ? 'ends' : 'end'} at once. Your own session stays.
      </p>
    ),
    button: () => `End ${others.length}`,
    danger: true,
    async act() {
      for (const other of others) await endSession(other);
      notify('The other sessions are ended.');
      await sessions.load();
    },
  });
}

const columns: readonly Column<OpenSession>[] = [
  {
    header: 'User',
    isRowHeader: true,
    cell: ({ username, strategy, current }) => (
      <>
        {userText(username, strategy)} {current && <span class="pill">this one</span>}
      </>
    ),
  },
  { header: 'Device', cell: (session) => <span title={session.userAgent}>{device(session)}</span> },
  { header: 'Address', cell: ({ ip }) => ip },
  { header: 'Started', cell: ({ startedAt }) => <Time at={startedAt} /> },
  { header: 'Last seen', cell: ({ lastUsedAt }) => <Time at={lastUsedAt} form="relative" /> },
  { header: 'Ends', cell: ({ expiresAt }) => <Time at={expiresAt} form="relative" /> },
  actionsColumn((session) => (
    <button type="button" onClick={() => void end(session)}>
      End…
    </button>
  )),
];

/** Shows the open sessions of a user, with buttons that end them. */
export function Sessions() {
  const [username, setUsername] = useState(whose.username);
  const [strategy, setStrategy] = useState(whose.strategy);
  useEffect(() => void sessions.load(), []);
  const isAdmin = bootstrap.roles.includes('admin');
  return (
    <section aria-labelledby="sessions">
      <h2 id="sessions">Sessions</h2>
      {isAdmin && (
        <form
          class="filters"
          onSubmit={(event) => {
            event.preventDefault();
            whose = { username: username.trim(), strategy };
            void sessions.load();
          }}
        >
          <input
            aria-label="Sessions of user"
            placeholder={`Of user, ${ownName} by default`}
            value={username}
            maxLength={256}
            onInput={(event) => setUsername(event.currentTarget.value)}
          />
          {bootstrap.strategies.length > 1 && (
            <select
              aria-label="Strategy"
              value={strategy}
              onChange={(event) => setStrategy(event.currentTarget.value)}
            >
              <option value="">any strategy</option>
              {bootstrap.strategies.map((each) => (
                <option key={each}>{each}</option>
              ))}
            </select>
          )}
          <button type="submit">Show</button>
        </form>
      )}
      <When source={sessions} what="The sessions">
        {({ items }) =>
          items.length === 0 ? (
            <p class="empty">There is no open session.</p>
          ) : (
            <>
              <DataTable
                caption="Open sessions"
                columns={columns}
                rows={items}
                keyOf={({ id }) => id}
              />
              {items.some(({ current }) => !current) && (
                <button type="button" onClick={() => void endOthers(items)}>
                  End all others…
                </button>
              )}
            </>
          )
        }
      </When>
    </section>
  );
}
