import Router from '@koa/router';
import type { Context, Middleware, Next } from 'koa';
import { TaskflowError } from '../errors.js';
import type { Logger } from '../options.js';
import { type Access, type Actor, type AuditEvent, hasRole } from './access.js';
import { discardBody, isOfType } from './body.js';
import { clientAddress } from './client-address.js';
import { plainHeaders } from './headers.js';
import type { Mount } from './mount.js';
import { perRequest } from './per-request.js';
import { type ErrorShape, sendError } from './problem.js';
import { requestFields, requestId } from './request-id.js';
import { refuseCrossOrigin, refuseCrossSiteRead } from './same-origin.js';

/** Who may use a route. `page` is a viewer who is led to the login page instead of getting a 401. */
type Need = 'public' | 'page' | 'viewer' | 'operator' | 'admin';

/** The arguments that a handler gets after the context. */
interface RouteRequest {
  /** Decoded parameters of the path. */
  params: Readonly<Record<string, string>>;
  /** Who asks; on a public route it is nobody. */
  actor: Actor | undefined;
}

/** One row of the table: a route without a `need` does not compile. */
export interface Route {
  method: 'GET' | 'POST' | 'DELETE';
  /** Below the mount, in the notation of @koa/router; an empty string is the mount itself. */
  path: string;
  need: Need;
  /** Media types it answers with; a request that accepts none of them gets a 406. Absent: whatever is accepted. */
  gives?: readonly string[];
  /** What the route does to tasks, for the audit; a route that only shows has none. */
  action?: string;
  handler(ctx: Context, request: RouteRequest): unknown;
  /** How errors of the route are shown: `page` for routes that a browser opens, `form` for a page if a form was sent. */
  errors?: 'json' | 'page' | 'form';
  /** Whether a GET route also answers HEAD. Default `true`; `false` for a GET that changes something. */
  head?: boolean;
}

/** The routes of one middleware, and what they share. */
export interface RouteTable {
  /** Name of the middleware, for stack traces. */
  name: string;
  mount: Mount;
  access: Access;
  routes: readonly Route[];
  trustedOrigins: readonly string[];
  logger: Logger;
  /** Answer every other path under the mount too: 401 to nobody, 404 to somebody. */
  rest?: boolean;
  /** Path below the mount where the style of its pages is served. */
  assets?: string | undefined;
  /** Runs before anything else of a request under the mount. */
  before?: ((ctx: Context) => void) | undefined;
}

const tables = new WeakMap<Middleware, RouteTable>();

/** The routes that a middleware was made of, for whoever checks that each is guarded. */
export function routesOf(middleware: Middleware): readonly Route[] {
  return tables.get(middleware)?.routes ?? [];
}

/** Makes one middleware of a table of routes. A path that is not in the table is passed on, or refused with `rest`. */
export function routeTable(table: RouteTable): Middleware {
  const { mount, routes, name, rest = false, before } = table;
  // Exact paths alone: by default the router takes /TASKS/Dashboard/ for /tasks/dashboard.
  const router = new Router({ sensitive: true, strict: true });
  const byLayer = new Map<unknown, Route>();
  for (const route of routes) {
    const layer = router.register(mount.prefix + route.path || '/', methodsOf(route), () => {}, {
      sensitive: true,
      strict: true,
    });
    byLayer.set(layer, route);
  }

  const handle = async (ctx: Context, next: Next): Promise<void> => {
    const { path: layers } = router.match(ctx.path, ctx.method);
    if (layers.length === 0 && !rest) return next();
    const known = layers.flatMap((layer) => byLayer.get(layer) ?? []);
    // Fixed paths stand before those with parameters, so the first path decides and its methods alone count.
    const same = known.filter((route) => route.path === known[0]?.path);
    const route = same.find((candidate) => methodsOf(candidate).includes(ctx.method));
    const shape = errorShape(ctx, route ?? same[0]);
    try {
      before?.(ctx);
      const params = layers[0]?.params(ctx.path, layers[0].captures(ctx.path)) ?? {};
      await answer(ctx, table, route, same, params);
    } catch (error) {
      // A client that is still sending must be let finish, within reason, or it never reads the answer.
      await discardBody(ctx);
      sendError(
        ctx,
        error,
        shape,
        table.logger,
        table.assets && `${mount.outside(ctx)}${table.assets}`,
      );
    }
  };
  const middleware = mount.middleware(name, handle);
  tables.set(middleware, table);
  return middleware;
}

function errorShape(ctx: Context, route: Route | undefined): ErrorShape {
  if (route?.errors === 'form') return isOfType(ctx, 'form') ? 'page' : 'json';
  return route?.errors ?? 'json';
}

function methodsOf(route: Route): string[] {
  return route.method === 'GET' && route.head !== false ? ['GET', 'HEAD'] : [route.method];
}

async function answer(
  ctx: Context,
  table: RouteTable,
  route: Route | undefined,
  same: readonly Route[],
  params: Record<string, string>,
): Promise<void> {
  const known = same[0];
  if (known && !route && (known.need === 'public' || ctx.method === 'OPTIONS'))
    throw wrongMethod(ctx, same);
  const need = route?.need ?? known?.need ?? 'viewer';
  const actor = need === 'public' ? undefined : await admit(ctx, table, need, route);
  if (need !== 'public' && actor === undefined) return;
  if (!known) throw new TaskflowError('NOT_FOUND', 'There is nothing at this address.');
  if (!route) throw wrongMethod(ctx, same);
  refuseOtherSites(ctx, table, route, actor);
  if (route.gives && !ctx.accepts(...route.gives))
    throw new TaskflowError('NOT_ACCEPTABLE', `This is to be had as ${route.gives.join(' or ')}.`);
  plainHeaders(ctx);
  await route.handler(ctx, { params, actor });
}

/** Refuses what another site made a browser send: changes, and reads of what is guarded. */
function refuseOtherSites(
  ctx: Context,
  { access, trustedOrigins }: RouteTable,
  route: Route,
  actor: Actor | undefined,
): void {
  if (actor?.ambient === false) return;
  try {
    refuseCrossOrigin(ctx, trustedOrigins);
    if (route.need !== 'public' && route.need !== 'page') refuseCrossSiteRead(ctx, trustedOrigins);
  } catch (error) {
    if (route.action)
      recordRow(ctx, access, {
        action: route.action,
        actor: actor?.name,
        outcome: 'refused',
        detail: { code: 'CROSS_ORIGIN' },
      });
    throw error;
  }
}

function wrongMethod(ctx: Context, same: readonly Route[]): TaskflowError {
  const allow = [...new Set(same.flatMap(methodsOf))].join(', ');
  return new TaskflowError(
    'METHOD_NOT_ALLOWED',
    `${ctx.method} is not possible here; ${allow} is.`,
    { headers: { Allow: allow } },
  );
}

/**
 * Whether a Bearer token was sent, of this login or of another issuer. It does not identify the user: a proxy may have added it.
 */
export function hasBearer(ctx: Context): boolean {
  return /^bearer(\s|$)/i.test(ctx.get('Authorization'));
}

/** Lets the actor through, or answers with the way to the login (`undefined`), or throws. */
async function admit(
  ctx: Context,
  { access, logger }: RouteTable,
  need: Exclude<Need, 'public'>,
  route: Route | undefined,
): Promise<Actor | undefined> {
  const actor = await whoIs(ctx, access);
  if (actor === undefined) {
    if (need !== 'page' || !access.loginUrl) throw unauthenticated(ctx);
    plainHeaders(ctx);
    ctx.redirect(access.loginUrl(ctx));
    return undefined;
  }
  const role = need === 'page' ? 'viewer' : need;
  if (!hasRole(actor.roles, role)) {
    logForbidden(ctx, logger, actor, role, route?.path);
    if (route?.action)
      recordRow(ctx, access, {
        action: route.action,
        actor: actor.name,
        outcome: 'refused',
        detail: { code: 'FORBIDDEN' },
      });
    throw forbidden(role);
  }
  return actor;
}

/** Logs that a session lacked the role. */
export function logForbidden(
  ctx: Context,
  logger: Logger,
  actor: Omit<Actor, 'roles'>,
  required: string,
  route?: string,
): void {
  const { name: username, strategy } = actor;
  logger.warn(
    {
      event: 'authz_fail',
      username,
      ...strategyField(strategy),
      required,
      ...(route !== undefined && { route }),
      ...requestFields(ctx),
    },
    'role missing',
  );
}

function strategyField(strategy: string | undefined): { strategy?: string } {
  return strategy === undefined ? {} : { strategy };
}

/** Who a request was found to come from. */
const actors = perRequest<Actor>('actor');

/** An event of the audit, without what the request says of itself. */
type Recorded = Omit<AuditEvent, 'at' | 'ip' | 'requestId'>;

/** Logs what was done, refused or failed behind the guard, and tells the audit. */
export function record(ctx: Context, access: Access, logger: Logger, event: Recorded): void {
  const { action, actor, outcome, tasks = [], detail } = event;
  const count = tasks.length;
  const level = outcome === 'done' ? 'info' : 'warn';
  const who = { username: actor, ...strategyField(actors.get(ctx)?.strategy) };
  logger[level](
    {
      event: 'authz_admin',
      action,
      ...who,
      outcome,
      tasks: tasks.slice(0, 20),
      count,
      ...detail,
      ...requestFields(ctx),
    },
    'change asked for',
  );
  recordRow(ctx, access, { ...event, tasks: tasks.slice(0, 20) });
}

/** Tells the audit alone, of what has a line of its own in the log. */
function recordRow(ctx: Context, access: Access, event: Recorded): void {
  const strategy = strategyField(actors.get(ctx)?.strategy);
  access.record?.({
    at: new Date().toISOString(),
    ip: clientAddress(ctx),
    requestId: requestId(ctx),
    ...strategy,
    ...event,
  });
}

/** Asks the login who the request comes from. If the login fails, the request is refused. */
export async function whoIs(ctx: Context, access: Access): Promise<Actor | undefined> {
  try {
    const actor = (await access.who(ctx)) ?? undefined;
    if (actor === undefined) return undefined;
    const { name, roles, strategy } = actor;
    if (
      typeof name !== 'string' ||
      !Array.isArray(roles) ||
      !(strategy === undefined || typeof strategy === 'string')
    )
      throw new TypeError(
        'who(ctx) must return undefined, or { name, roles, ambient?, strategy? } with a string and a list',
      );
    actors.set(ctx, actor);
    return actor;
  } catch (error) {
    if (error instanceof TaskflowError) throw error;
    throw new TaskflowError('STORE_UNAVAILABLE', 'The login could not say who this is.', {
      cause: error,
    });
  }
}

/** The 401 of the suite (RFC 9110 section 11.6.1, RFC 6750 section 3). */
export function unauthenticated(ctx: Context): TaskflowError {
  const challenge = `Bearer realm="koa-taskflow"${hasBearer(ctx) ? ', error="invalid_token"' : ''}`;
  return new TaskflowError(
    'UNAUTHENTICATED',
    'This needs a session: sign in, or send a valid token.',
    {
      headers: { 'WWW-Authenticate': challenge },
    },
  );
}

/** The 403 of the suite for a role that is missing. */
export function forbidden(role: string): TaskflowError {
  return new TaskflowError('FORBIDDEN', `This needs the role ${role}.`, {
    headers: { 'WWW-Authenticate': 'Bearer realm="koa-taskflow", error="insufficient_scope"' },
  });
}
