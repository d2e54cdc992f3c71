import type { Context, Middleware } from 'koa';
import { type Actor, hasRole, isOpen, type LoginFacts } from '../http/access.js';
import { builtAssets } from '../http/assets.js';
import { escapeHtml, jsonForHtml, sendPage } from '../http/page.js';
import { type Route, type RouteTable, routeTable } from '../http/routes.js';
import { type OptionsOf, optionSet, text } from '../option-set.js';
import { logoOption } from '../options.js';
import { version } from '../package-files.js';
import type { TaskList, TaskSource } from '../tasks/source.js';
import { tasksOption, type WebOptions, webOptions, webSettings } from './options.js';
import { type Overview, readOverview } from './overview.js';
import { loadSchemas, readQuery } from './read-input.js';

const pageOptions = optionSet({
  /** Shown in the header and the tab, such as `production`. Default `koa-taskflow`. */
  title: text({ default: 'koa-taskflow', maxLength: 100 }),
  /** Path of an image on this host, or a `data:` URL, shown instead of the suite's own. */
  logo: logoOption,
});
const dashboardOptions = optionSet({ ...webOptions.rows, ...pageOptions.rows });

/** Options of {@link dashboardRoutes}. */
export interface DashboardOptions extends WebOptions, OptionsOf<typeof pageOptions> {}

/** What the page needs at once. It is in the page as JSON. */
export interface DashboardFacts {
  /** Name of the user; null if the app has no login. */
  user: string | null;
  /** The strategy that this user signed in with; null if there is no user or no known strategy. */
  strategy: string | null;
  /** The strategies that users can sign in with; empty if the login does not list them. */
  strategies: readonly string[];
  roles: readonly string[];
  /** Whether this user may retry and cancel. */
  mayAct: boolean;
  title: string;
  logo: string;
  /** What the engine can do. */
  can: readonly string[];
  version: string;
  /** The ways to sign in, and what else the login offers; null if it is not one of this suite. */
  login: LoginFacts | null;
  /**
   * Where users sign in and out; null if the login is not a page of this suite. `loginUrl` is also
   * null if the user has no session: a proxy decides who is signed in.
   */
  loginUrl: string | null;
  logoutUrl: string | null;
  /** Whether the user has a session that a sign-out can end. */
  hasSession: boolean;
  /** Whether there is an audit to show. */
  audited: boolean;
  /** Number of the last change when the page was made. The stream resumes after it. */
  lastEventId: string | null;
  /** What the overview shows; null if the page opens another view, or if reading it failed. */
  overview: Overview | null;
  /** The tasks that the page lists first; null if it opens no list, or if reading them failed. */
  list: TaskList | null;
}

/**
 * Serves the dashboard's page at `path/dashboard` and its assets. Passes on all other requests.
 *
 * @example
 * ```ts
 * app.use(dashboardRoutes(tasks, { path: '/tasks', access: auth, title: 'Shop' }));
 * ```
 */
export function dashboardRoutes(tasks: TaskSource, options?: DashboardOptions): Middleware {
  tasksOption(tasks);
  const settings = dashboardOptions.read(options, { where: 'dashboardRoutes' });
  const web = webSettings(settings);
  const assets = builtAssets();
  const routes: Route[] = [
    {
      method: 'GET',
      path: '/dashboard',
      requiredRole: 'page',
      errors: 'page',
      handler: (ctx, { actor }) => showDashboard(ctx, web, tasks, settings, actor),
    },
    {
      method: 'GET',
      path: '/dashboard/assets/:file',
      requiredRole: 'public',
      handler: (ctx, { params }) => assets.send(ctx, params.file ?? ''),
    },
  ];
  return routeTable({ ...web, name: 'dashboardRoutes', routes, assets: '/dashboard/assets' });
}

/** The page is sent nevertheless. Its own requests then show what is wrong. */
const unavailable = (): null => null;

function isOverview({ query }: Context): boolean {
  return query.view === undefined || query.view === 'overview';
}

/**
 * Returns the list that an address of the dashboard selects. The address has the parameters of the
 * API and some of its own.
 */
async function firstList(ctx: Context, tasks: TaskSource): Promise<DashboardFacts['list']> {
  if (!isOverview(ctx) && ctx.query.view !== 'tasks') return null;
  const { limit: _, ...known } = (await loadSchemas()).listQuery.shape;
  const asked = [...new URLSearchParams(ctx.querystring)].filter(([name]) =>
    Object.hasOwn(known, name),
  );
  return tasks.find(await readQuery('listQuery', `${new URLSearchParams(asked)}`));
}

async function showDashboard(
  ctx: Context,
  { mount, access }: Pick<RouteTable, 'mount' | 'access'>,
  tasks: TaskSource,
  look: { title: string; logo: string | undefined },
  actor: Actor | undefined,
): Promise<void> {
  const { file } = builtAssets();
  const asset = (name: string): string => `${mount.outside(ctx)}/dashboard/assets/${file(name)}`;
  const link = (name: string): string => escapeHtml(asset(name));
  // Read before the overview, so that the stream sends what changes while the overview is read.
  const lastEventId = await tasks.describe().then(({ rev }) => String(rev), unavailable);
  const [overview, list] = await Promise.all([
    isOverview(ctx) ? readOverview(tasks).catch(unavailable) : null,
    firstList(ctx, tasks).catch(unavailable),
  ]);
  const hasSession = actor?.hasSession !== false;
  const facts: DashboardFacts = {
    user: isOpen(access) ? null : (actor?.name ?? null),
    strategy: actor?.strategy ?? null,
    strategies: access.strategies?.() ?? [],
    roles: isOpen(access) ? [] : (actor?.roles ?? []),
    mayAct: hasRole(actor?.roles ?? [], 'operator'),
    title: look.title,
    logo: look.logo ?? asset('icon.svg'),
    can: [...tasks.can],
    version,
    // The page can only send the form of this suite, not that of an app's own login.
    login: access.login?.() ?? null,
    loginUrl: access.login && hasSession ? `${mount.outside(ctx)}/auth/login` : null,
    logoutUrl: access.logoutUrl?.(ctx) ?? null,
    hasSession,
    audited: access.audit !== undefined,
    lastEventId,
    overview,
    list,
  };
  sendPage(ctx, {
    title: `Tasks · ${look.title}`,
    head: `<link rel="icon" href="${link('icon.svg')}" data-alert="${link('icon-alert.svg')}">
<link rel="stylesheet" href="${link('dashboard.css')}">
<script type="application/json" id="facts">${jsonForHtml(facts)}</script>
<script type="module" src="${link('dashboard.js')}"></script>`,
    body:
      '<div id="app"><noscript>The dashboard needs JavaScript. The JSON API does not.' +
      '</noscript></div>',
  });
}
