import { useEffect } from 'preact/hooks';
import { Dialog } from '../kit/dialog.js';
import { Skeleton } from '../kit/states.js';
import { stats } from '../live/connection.js';
import { lazy, lazyError, loadLazy } from '../pages/load-lazy.js';
import { OverviewPage } from '../pages/overview/overview.js';
import { Panel } from '../pages/task/panel.js';
import { loading } from '../pages/task-list/list.js';
import { TasksPage } from '../pages/task-list/tasks.js';
import { bootstrap } from '../state/bootstrap.js';
import { type PageName, pages } from '../state/pages.js';
import { page, scrollTarget, view } from '../state/view.js';
import { Banners } from './banners.js';
import { Header } from './header.js';
import { Navigation } from './navigation.js';
import { Notices } from './notices.js';
import { SignIn } from './sign-in.js';

/*
 * The frame around every page: navigation, header, banners, the page itself and the panel of the
 * open task. The table `pages` names the component of each page. The overview and the task list are
 * part of the first script. The other pages load with the second script (`load-lazy.ts`), and the
 * frame shows a skeleton until then. Notices, dialogs and the sign-in form lie above the page.
 */

const eager = { OverviewPage, TasksPage };
const isEager = (component: string): component is keyof typeof eager =>
  Object.hasOwn(eager, component);

/** The content of a page. */
function Content({ name }: { name: PageName }) {
  const { component } = pages[name];
  if (!isEager(component)) return <LazyContent component={component} />;
  const Page = eager[component];
  return <Page />;
}

type LazyPage = Exclude<(typeof pages)[PageName]['component'], keyof typeof eager>;

/** A page whose component is in the second script. */
function LazyContent({ component }: { component: LazyPage }) {
  useEffect(() => void loadLazy(), [component]);
  const Page = lazy.value?.[component];
  if (Page) return <Page />;
  if (lazyError.value === undefined) return <Skeleton />;
  return (
    <div class="empty" role="alert">
      <p>This page could not be loaded. The server may have a newer version.</p>
      <button type="button" onClick={() => location.reload()}>
        Reload page
      </button>
    </div>
  );
}

/** Restores the scroll position of an entry of the browser history, once its list is loaded. */
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

/** The frame around every page. */
export function Frame() {
  const name = page.value;
  const failed = stats.value?.counts.failed ?? 0;
  useEffect(() => {
    const count = failed > 0 ? `(${failed}) ` : '';
    document.title = `${count}${pages[name].label} · ${bootstrap.title} · taskflow`;
  }, [name, failed]);
  useScroll();
  return (
    <div class="shell">
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <Navigation />
      <div class="body">
        <Header />
        <Banners />
        <main id="main" tabIndex={-1} class={view.value.task === undefined ? '' : 'with-panel'}>
          <div class="content">
            <Content name={name} />
          </div>
          <Panel />
        </main>
      </div>
      <Notices />
      <Dialog environment={bootstrap.title} />
      <SignIn />
    </div>
  );
}
