import { count, whole } from '../kit/formats.js';
import { stats } from '../live/connection.js';
import { bootstrap } from '../state/bootstrap.js';
import { PageLink } from '../state/links.js';
import { isOnPhone, offeredPages, type PageName, pages } from '../state/pages.js';
import { page } from '../state/view.js';

function Item({ name }: { name: PageName }) {
  const failed = stats.value?.counts.failed ?? 0;
  return (
    <PageLink to={{ view: name }} current={page.value === name}>
      {pages[name].label}
      {name === 'failures' && failed > 0 && (
        <span class="n" title={`${whole(failed)} failed tasks`}>
          {count(failed)}
        </span>
      )}
    </PageLink>
  );
}

/** Links to every page. */
export function Navigation() {
  const offered = offeredPages(bootstrap);
  const rest = offered.filter((name) => !isOnPhone(name));
  return (
    <nav class="nav" aria-label="Pages of the dashboard">
      <div class="brand">
        <img src={bootstrap.logo} alt="" width="26" height="26" />
        <span>taskflow</span>
      </div>
      <ul>
        {offered.map((name) => (
          <li key={name} class={isOnPhone(name) ? '' : 'minor'}>
            <Item name={name} />
          </li>
        ))}
        <li class="more">
          <details class="menu">
            <summary>More</summary>
            <div class="menu-items">
              {rest.map((name) => (
                <Item key={name} name={name} />
              ))}
            </div>
          </details>
        </li>
      </ul>
    </nav>
  );
}
