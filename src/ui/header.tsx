import { facts } from './facts.js';
import { connection } from './live.js';
import { nextTheme, theme } from './theme.js';

const words = { live: 'Live', connecting: 'Connecting…', offline: 'Connection lost' };

export function Header() {
  return (
    <header>
      <h1>
        <img src={facts.logo} alt="" width="24" height="24" /> Tasks <span class="title">{facts.title}</span>
      </h1>
      <span class={`connection ${connection.value}`} role="status">
        {words[connection.value]}
      </span>
      <button type="button" class="quiet" onClick={nextTheme}>
        Theme: {theme.value}
      </button>
      {facts.user === null ? (
        <span class="exposed">Open to everyone who can reach this address</span>
      ) : (
        <span class="user">{facts.user}</span>
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
