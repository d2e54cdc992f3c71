import { count, whole } from '../kit/formats.js';
import { pulse } from '../live/connection.js';
import { type PageName, pages } from '../state/address.js';
import { facts } from '../state/bootstrap.js';
import { PageLink } from '../state/links.js';
import { page } from '../state/view.js';

export const pageNames: Record<PageName, string> = {
  overview: 'Overview',
  tasks: 'Tasks',
  failures: 'Failures',
  schedules: 'Schedules',
  queues: 'Queues',
  functions: 'Functions',
  audit: 'Audit',
  settings: 'Settings',
};

/** Pages there is something to see on: without an audit and sessions there is no such page. */
export const offered = pages.filter((each) => each !== 'audit' || facts.audited || facts.loginUrl !== null);

/** Pages that have a place of their own on a phone; the others are behind "More". */
const main: readonly PageName[] = ['overview', 'tasks', 'failures', 'queues'];

function Item({ name }: { name: PageName }) {
  const failed = pulse.value?.counts.failed ?? 0;
  return (
    <PageLink to={{ view: name }} current={page.value === name}>
      {pageNames[name]}
      {name === 'failures' && failed > 0 && (
        <span class="n" title={`${whole(failed)} tasks are failed`}>
          {count(failed)}
        </span>
      )}
    </PageLink>
  );
}

/** The way to every page. */
export function Nav() {
  const rest = offered.filter((each) => !main.includes(each));
  return (
    <nav class="nav" aria-label="Pages of the dashboard">
      <div class="brand">
        <img src={facts.logo} alt="" width="26" height="26" />
        <span>taskflow</span>
      </div>
      <ul>
        {offered.map((name) => (
          <li key={name} class={main.includes(name) ? '' : 'minor'}>
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
