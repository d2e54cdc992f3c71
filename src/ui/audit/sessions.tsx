import { useEffect, useState } from 'preact/hooks';
import type { OpenSession } from '../../client/client.js';
import { client, facts } from '../facts.js';
import { Heads } from '../heads.js';
import { loaded } from '../live/loaded.js';
import { confirmed } from '../shell/dialog.js';
import { tell } from '../shell/notices.js';
import { When } from '../states.js';
import { Time } from '../time.js';
import { page } from '../view.js';

/** The user that an administrator looks at; empty for oneself. */
let whose = '';

const query = (): { username?: string } => (whose === '' ? {} : { username: whose });
const sessions = loaded(
  () => client.sessions(query()),
  () => page.peek() === 'audit',
);

/** The browser of a session in a few words. */
function device({ userAgent = '' }: OpenSession): string {
  const browser = /(Firefox|Edg|OPR|Chrome|Safari|curl)\/?/.exec(userAgent)?.[1] ?? 'Unknown browser';
  const system = /(Windows|Android|iPhone|iPad|Mac OS|Linux)/.exec(userAgent)?.[1];
  return `${browser.replace('Edg', 'Edge').replace('OPR', 'Opera')}${system ? ` on ${system}` : ''}`;
}

function end(session: OpenSession): Promise<void> {
  return confirmed({
    title: 'End this session?',
    body: () => (
      <p>
        {session.username} ({device(session)}
        {session.ip && `, ${session.ip}`}) is signed out at once.{session.current && ' That is you, here.'}
      </p>
    ),
    button: () => 'End session',
    danger: true,
    async act() {
      await client.endSession(session.id, query());
      tell('The session is ended.');
      await sessions.load();
    },
  });
}

function endOthers(all: readonly OpenSession[]): Promise<void> {
  const others = all.filter(({ current }) => !current);
  return confirmed({
    title: 'End all other sessions?',
    body: () => (
      <p>{others.length === 1 ? 'One other session is' : `${others.length} other sessions are`} signed out at once. This one stays.</p>
    ),
    button: () => `End ${others.length}`,
    danger: true,
    async act() {
      for (const { id } of others) await client.endSession(id, query());
      tell('The other sessions are ended.');
      await sessions.load();
    },
  });
}

/** Where one is signed in, and a way to end it. */
export function Sessions() {
  const [name, setName] = useState(whose);
  useEffect(() => void sessions.load(), []);
  const isAdmin = facts.roles.includes('admin');
  return (
    <section aria-labelledby="sessions">
      <h2 id="sessions">Sessions</h2>
      {isAdmin && (
        <form
          class="filters"
          onSubmit={(event) => {
            event.preventDefault();
            whose = name.trim();
            void sessions.load();
          }}
        >
          <input
            aria-label="Sessions of user"
            placeholder={`Of user, ${facts.user ?? ''} by default`}
            value={name}
            maxLength={256}
            onInput={(event) => setName(event.currentTarget.value)}
          />
          <button type="submit">Show</button>
        </form>
      )}
      <When source={sessions} what="The sessions">
        {({ items }) =>
          items.length === 0 ? (
            <p class="empty">There is no open session.</p>
          ) : (
            <>
              <table>
                <caption>Open sessions</caption>
                <Heads names={['User', 'Device', 'Address', 'Started', 'Last seen', 'Ends', '']} />
                <tbody>
                  {items.map((session) => (
                    <tr key={session.id}>
                      <th scope="row">
                        {session.username} {session.current && <span class="pill">this one</span>}
                      </th>
                      <td data-label="Device" title={session.userAgent}>
                        {device(session)}
                      </td>
                      <td data-label="Address">{session.ip}</td>
                      <td data-label="Started">
                        <Time at={session.startedAt} />
                      </td>
                      <td data-label="Last seen">
                        <Time at={session.lastUsedAt} form="relative" />
                      </td>
                      <td data-label="Ends">
                        <Time at={session.expiresAt} form="relative" />
                      </td>
                      <td class="row-actions">
                        <button type="button" onClick={() => void end(session)}>
                          End…
                        </button>
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
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
