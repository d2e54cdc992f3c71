import { zone, zoneLabel } from '../kit/clock.js';
import { whole } from '../kit/formats.js';
import { connection, missed, togglePause } from '../live/connection.js';
import { facts, ownName } from '../state/bootstrap.js';
import { pages } from '../state/pages.js';
import { paused, zonePreference } from '../state/preferences.js';
import { nextTheme, theme } from '../state/theme.js';
import { page, show } from '../state/view.js';
import { showHelp } from './help.js';
import { openPalette } from './palette.js';

const words = { live: 'Live', connecting: 'Connecting…', offline: 'Connection lost', paused: 'Paused' };

/** From the browser's zone to UTC, and back; a zone of the address gives way. */
export function toggleZone(): void {
  zonePreference.value = zone.peek() === 'UTC' ? 'local' : 'UTC';
  show({ tz: undefined }, { replace: true });
}

/** What stands on top of every page: where one is, how fresh it is, and who one is. */
export function Header() {
  return (
    <header class="header">
      <h1 tabIndex={-1}>{pages[page.value].label}</h1>
      <span class="title" title="This environment">
        {facts.title}
      </span>
      <span class="spacer" />
      <span class={`connection ${connection.value}`} role="status">
        {words[connection.value]}
      </span>
      <button type="button" class={paused.value ? 'primary' : ''} aria-pressed={paused.value} onClick={togglePause}>
        {paused.value ? `Resume${missed.value > 0 ? ` +${whole(missed.value)}` : ''}` : 'Pause'}
      </button>
      <button type="button" class="quiet" onClick={openPalette} title="Ctrl K" aria-label="Go to…">
        Go to…
      </button>
      <button type="button" class="quiet" onClick={toggleZone} title="u" aria-label={`Time zone: ${zoneLabel.value}`}>
        {zoneLabel.value}
      </button>
      <button type="button" class="quiet on-desk" onClick={nextTheme} title="d">
        Theme: {theme.value}
      </button>
      <button type="button" class="quiet on-desk" onClick={showHelp} aria-label="Keyboard shortcuts" title="?">
        ?
      </button>
      {facts.user !== null && (
        <span class="user" title={facts.roles.length > 0 ? facts.roles.join(', ') : 'read only'}>
          {ownName}
        </span>
      )}
      {facts.logoutUrl !== null && (
        <form method="post" action={facts.logoutUrl}>
          <button type="submit" class="quiet">
            Sign out
          </button>
        </form>
      )}
    </header>
  );
}
