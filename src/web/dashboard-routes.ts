import type { Context, Middleware } from 'koa';
import { type Actor, hasRole, isOpen } from '../http/access.js';
import { builtAssets } from '../http/assets.js';
import { chosenTheme, escapeHtml, jsonForHtml, sendPage } from '../http/page.js';
import { type Route, type RouteTable, routeTable } from '../http/routes.js';
import { optionsObject, stringOption } from '../options.js';
import type { TaskSource } from '../tasks/engine.js';
import { version } from '../version.js';
import { readWebOptions, tasksOption, type WebOptions, webOptionNames } from './options.js';

/** Options of {@link dashboardRoutes}. */
export interface DashboardOptions extends WebOptions {
  /** Shown in the header and the tab, such as `production`. Default `koa-taskflow`. */
  title?: string | undefined;
  /** Path of an image on this host, or a `data:` URL, shown instead of the suite's own. */
  logo?: string | undefined;
}

/** What the page must know at once, put into it as JSON. */
export interface DashboardFacts {
  /** Name of whoever is signed in; null where nobody signs in. */
  user: string | null;
  /** Whether this user may retry and cancel. */
  mayAct: boolean;
  title: string;
  logo: string;
  /** What the engine can do. */
  can: readonly string[];
  version: string;
  /** Where the sign-out form is sent; null where there is none. */
  logoutUrl: string | null;
}

/**
 * The dashboard's page at `path/dashboard`, and its assets. Passes on all else.
 *
 * @example
 * ```ts
 * app.use(dashboardRoutes(tasks, { path: '/tasks', access: auth, title: 'Shop' }));
 * ```
 */
export function dashboardRoutes(tasks: TaskSource, options?: DashboardOptions): Middleware {
  const given = optionsObject<DashboardOptions>('dashboardRoutes', options, [...webOptionNames, 'title', 'logo']);
  const source = tasksOption(tasks);
  const web = readWebOptions(given);
  const assets = builtAssets();
  const title = stringOption('title', given.title, 'koa-taskflow', { maxLength: 100 });
  const logo = stringOption('logo', given.logo, undefined, {
    pattern: /^(\/(?!\/)[!-~]*|data:image\/[a-z+.-]+[;,][!-~]*)$/,
    accepted: 'a path on this host, or a data:image/ URL',
    maxLength: 65_536,
  });
  const routes: Route[] = [
    {
      method: 'GET',
      path: '/dashboard',
      need: 'page',
      errors: 'page',
      handler: (ctx, { actor }) => showDashboard(ctx, web, source, { title, logo }, actor),
    },
    { method: 'GET', path: '/dashboard/assets/:file', need: 'public', handler: (ctx, { params }) => assets.send(ctx, params.file ?? '') },
  ];
  return routeTable({ ...web, name: 'dashboardRoutes', routes });
}

function showDashboard(
  ctx: Context,
  { mount, access }: Pick<RouteTable, 'mount' | 'access'>,
  { can }: TaskSource,
  look: { title: string; logo: string | undefined },
  actor: Actor | undefined,
): void {
  const { file } = builtAssets();
  const asset = (name: string): string => `${mount.outside(ctx)}/dashboard/assets/${file(name)}`;
  const facts: DashboardFacts = {
    user: isOpen(access) ? null : (actor?.name ?? null),
    mayAct: hasRole(actor?.roles ?? [], 'operator'),
    title: look.title,
    logo: look.logo ?? asset('icon.svg'),
    can: [...can],
    version,
    logoutUrl: access.logoutUrl?.(ctx) ?? null,
  };
  sendPage(ctx, {
    title: `Tasks · ${look.title}`,
    theme: chosenTheme(ctx),
    head: `<link rel="icon" href="${escapeHtml(asset('icon.svg'))}">
<link rel="stylesheet" href="${escapeHtml(asset('dashboard.css'))}">
<script type="application/json" id="facts">${jsonForHtml(facts)}</script>
<script type="module" src="${escapeHtml(asset('dashboard.js'))}"></script>`,
    body: '<div id="app"><noscript>The dashboard needs JavaScript. The JSON API beside it does not.</noscript></div>',
  });
}
