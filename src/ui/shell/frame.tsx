import type { ComponentType } from 'preact';
import { useEffect } from 'preact/hooks';
import { Dialog } from '../kit/dialog.js';
import { Skeleton } from '../kit/states.js';
import { pulse } from '../live/connection.js';
import { laterError, loadLater, later as rest } from '../pages/load-lazy.js';
import { OverviewPage } from '../pages/overview/overview.js';
import { Panel } from '../pages/task/panel.js';
import { Filters } from '../pages/task-list/filters.js';
import { loading } from '../pages/task-list/list.js';
import { SelectionBar } from '../pages/task-list/selection-bar.js';
import { TaskTable } from '../pages/task-list/table.js';
import type { PageName } from '../state/address.js';
import { facts } from '../state/bootstrap.js';
import { page, scrollTarget, view } from '../state/view.js';
import { Banners } from './banners.js';
import { Header } from './header.js';
import { Nav, pageNames } from './navigation.js';
import { Notices } from './notices.js';
import { SignIn } from './sign-in.js';

function TasksPage() {
  return (
    <div class="list">
      <Filters />
      <TaskTable />
      <SelectionBar />
    </div>
  );
}

type LaterPage = 'AuditPage' | 'FailuresPage' | 'FunctionsPage' | 'QueuesPage' | 'SchedulesPage' | 'SettingsPage';

/** A page that comes with the second file. */
function later(name: LaterPage): ComponentType {
  return function LaterPage() {
    useEffect(() => void loadLater(), []);
    const Page = rest.value?.[name];
    if (Page) return <Page />;
    if (laterError.value === undefined) return <Skeleton />;
    return (
      <div class="empty" role="alert">
        <p>This part of the page could not be loaded. The server may have a newer version.</p>
        <button type="button" onClick={() => location.reload()}>
          Reload
        </button>
      </div>
    );
  };
}

const contents: Record<PageName, ComponentType> = {
  overview: OverviewPage,
  tasks: TasksPage,
  failures: later('FailuresPage'),
  schedules: later('SchedulesPage'),
  queues: later('QueuesPage'),
  functions: later('FunctionsPage'),
  audit: later('AuditPage'),
  settings: later('SettingsPage'),
};

/** Scrolls to where this entry of the history was left, once its list is there. */
function useScroll(): void {
  const target = scrollTarget.value;
  const waits = loading.value;
  useEffect(() => {
    if (target === undefined || waits) return;
    requestAnimationFrame(() => {
      window.scrollTo({ top: target });
      scrollTarget.value = undefined;
    });
  }, [target, waits]);
}

export function App() {
  const name = page.value;
  const Content = contents[name];
  const failed = pulse.value?.counts.failed ?? 0;
  useEffect(() => {
    document.title = `${failed > 0 ? `(${failed}) ` : ''}${pageNames[name]} · ${facts.title} · taskflow`;
  }, [name, failed]);
  useScroll();
  return (
    <div class="shell">
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <Nav />
      <div class="body">
        <Header />
        <Banners />
        <main id="main" tabIndex={-1} class={view.value.task === undefined ? '' : 'with-panel'}>
          <div class="content">
            <Content />
          </div>
          <Panel />
        </main>
      </div>
      <Notices />
      <Dialog environment={facts.title} />
      <SignIn />
    </div>
  );
}
