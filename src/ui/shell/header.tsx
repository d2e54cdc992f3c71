import { zone, zoneLabel } from '../kit/clock.js';
import { whole } from '../kit/formats.js';
import { connection, missed, togglePause } from '../live/connection.js';
import { bootstrap, ownName } from '../state/bootstrap.js';
import { pages } from '../state/pages.js';
import { paused, zonePreference } from '../state/preferences.js';
import { nextTheme, theme } from '../state/theme.js';
import { page, show } from '../state/view.js';
import { showHelp } from './help.js';
import { openPalette } from './palette.js';

const words = {
  live: 'Live',
  connecting: 'Connecting…',
  offline: 'Connection lost',
  paused: 'Paused',
};

/** Switches between the time zone of the browser and UTC. Removes a time zone from the address. */
export function toggleZone(): void {
  zonePreference.value = zone.peek() === 'UTC' ? 'local' : 'UTC';
  show({ tz: undefined }, { replace: true });
}

/** The header of every page: its name, the state of the connection, and the user. */
export function Header() {
  return (
    <header class="header">
      <h1 tabIndex={-1}>{pages[page.value].label}</h1>
      <span class="title" title="This environment">
        {bootstrap.title}
      </span>
      <span class="spacer" />
      <span class={`connection ${connection.value}`} role="status">
        {words[connection.value]}
      </span>
      <button
        type="button"
        class={paused.value ? 'primary' : ''}
        aria-pressed={paused.value}
        onClick={togglePause}
      >
        {paused.value ? `Resume${missed.value > 0 ? ` +${whole(missed.value)}` : ''}` : 'Pause'}
      </button>
      <button type="button" class="quiet" onClick={openPalette} title="Ctrl K" aria-label="Go to…">
        Go to…
      </button>
      <button
        type="button"
        class="quiet"
        onClick={toggleZone}
        title="u"
        aria-label={`Time zone: ${zoneLabel.value}`}
      >
        {zoneLabel.value}
      </button>
      <button type="button" class="quiet on-desk" onClick={nextTheme} title="d">
        Theme: {theme.value}
      </button>
      <button
        type="button"
        class="quiet on-desk"
        onClick={showHelp}
        aria-label="Keyboard shortcuts"
        title="?"
      >
        ?
      </button>
      {bootstrap.user !== null && (
        <span
          class="user"
          title={bootstrap.roles.length > 0 ? bootstrap.roles.join(', ') : 'read only'}
        >
          {ownName}
        </span>
      )}
      {bootstrap.logoutUrl !== null && <SignOut url={bootstrap.logoutUrl} />}
    </header>
  );
}

/** Signs the user out. Without a session, leads to the proxy that decides who is signed in. */
function SignOut({ url }: { url: string }) {
  if (!bootstrap.hasSession)
    return (
      <a class="button quiet" href={url}>
        Sign out
      </a>
    );
  return (
    <form method="post" action={url}>
      <button type="submit" class="quiet">
        Sign out
      </button>
    </form>
  );
}
