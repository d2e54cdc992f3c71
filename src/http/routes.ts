import Router, { type Layer } from '@koa/router';
import type { Context, Middleware, Next } from 'koa';
import { TaskflowError } from '../errors.js';
import type { Logger } from '../options.js';
import { type Access, type Actor, type AuditEvent, hasRole, recordEvent } from './access.js';
import { forbidden, unauthenticated } from './auth-errors.js';
import { discardBody, isOfType, refuseBody } from './body.js';
import { clientAddress } from './client-address.js';
import { plainHeaders } from './headers.js';
import type { Mount } from './mount.js';
import { pathParams } from './path-params.js';
import { perRequest } from './per-request.js';
import { type ErrorShape, errorForClient, sendError, toTaskflowError } from './problem.js';
import { requestFields, requestId } from './request-id.js';
import { refuseCrossOrigin, refuseCrossSiteRead } from './same-origin.js';

/*
 * A request passes these steps: find the route, check the role of the user (`Access`), check which
 * site sent the request, decode the path, check `Accept`, call the handler. `sendError` answers any
 * error of a step.
 */

/**
 * The role that a route requires. `page` requires a viewer, and redirects an anonymous request to
 * the login page instead of answering 401.
 */
type RequiredRole = 'public' | 'page' | 'viewer' | 'operator' | 'admin';

/** The arguments that a handler gets after the context. */
interface RouteRequest {
  /** Decoded parameters of the path. */
  params: Readonly<Record<string, string>>;
  /** The user of the request; `undefined` on a public route. */
  actor: Actor | undefined;
}

/** A row of the route table. A route without a required role does not compile. */
export interface Route {
  method: 'GET' | 'POST' | 'DELETE';
  /** Path below the mount, in the notation of @koa/router. It is empty for the mount itself. */
  path: string;
  requiredRole: RequiredRole;
  /** Media types of the response. A request must accept at least one of them. Default: no check. */
  produces?: readonly string[];
  /** Name of the command in the audit; absent for a route that only reads. */
  action?: string;
  handler(ctx: Context, request: RouteRequest): unknown;
  /**
   * The format of the route's errors: `page` for routes that a browser opens. `form` is a page if
   * the request sent a form, otherwise JSON. Default `json`.
   */
  errors?: 'json' | 'page' | 'form';
  /** Whether the handler reads the body or ignores it. Default: a command refuses a body. */
  takesBody?: boolean;
  /** Whether a GET route also answers HEAD. Default `true`; `false` if GET changes something. */
  head?: boolean;
}

/** The routes of one middleware, and the settings that they share. */
export interface RouteTable {
  /** Name of the middleware, for stack traces. */
  name: string;
  mount: Mount;
  access: Access;
  routes: readonly Route[];
  trustedOrigins: readonly string[];
  logger: Logger;
  /**
   * Whether the middleware also answers every other path under the mount: with 401 for an anonymous
   * request, and with 404 for a signed-in user.
   */
  rest?: boolean;
  /** Path below the mount where the styles of error pages are served. */
  assets?: string | undefined;
  /** Called first for each request under the mount. */
  before?: ((ctx: Context) => void) | undefined;
}

const tables = new WeakMap<Middleware, RouteTable>();

/** Returns the routes of a middleware, so that tests can check their roles. */
export function routesOf(middleware: Middleware): readonly Route[] {
  return tables.get(middleware)?.routes ?? [];
}

/**
 * Makes a middleware that serves a table of routes. The table passes on requests for other paths,
 * or answers them if `rest` is set.
 */
export function routeTable(table: RouteTable): Middleware {
  const { mount, routes, name, rest = false, before } = table;
  // Only exact paths match. By default the router also accepts /TASKS/Dashboard/.
  const router = new Router({ sensitive: true, strict: true });
  const byLayer = new Map<unknown, Route>();
  for (const route of routes) {
    const path = mount.prefix + route.path || '/';
    byLayer.set(
      router.register(path, methodsOf(route), () => {}),
      route,
    );
  }

  const handle = async (ctx: Context, next: Next): Promise<void> => {
    const { path: layers } = router.match(ctx.path, ctx.method);
    if (layers.length === 0 && !rest) return next();
    const known = layers.flatMap((layer) => byLayer.get(layer) ?? []);
    // Fixed paths come before paths with parameters. So the first matching path decides, and only
    // its methods are allowed.
    const same = known.filter((route) => route.path === known[0]?.path);
    const route = same.find((candidate) => methodsOf(candidate).includes(ctx.method));
    const shape = errorShape(ctx, route ?? same[0]);
    try {
      before?.(ctx);
      await answer(ctx, table, route, same, layers[0]);
    } catch (error) {
      // Some clients read the response only after they have sent their whole body.
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
  layer: Layer | undefined,
): Promise<void> {
  const known = same[0];
  if (known && !route && (known.requiredRole === 'public' || ctx.method === 'OPTIONS'))
    throw wrongMethod(ctx, same);
  const required = route?.requiredRole ?? known?.requiredRole ?? 'viewer';
  const actor = required === 'public' ? undefined : await admit(ctx, table, required, route);
  if (required !== 'public' && actor === undefined) return;
  if (!known) throw new TaskflowError('NOT_FOUND', 'There is nothing at this address.');
  if (!route) throw wrongMethod(ctx, same);
  const params = await readRequest(ctx, table, route, actor, layer);
  if (route.produces && !ctx.accepts(...route.produces))
    throw new TaskflowError(
      'NOT_ACCEPTABLE',
      `This resource is only available as ${route.produces.join(' or ')}.`,
    );
  plainHeaders(ctx);
  await route.handler(ctx, { params, actor });
}

/**
 * Refuses requests that another site made a browser send: all changes, and reads that require a
 * role. Refuses the body of a command that takes none. Returns the parameters of the path. Records
 * a command that is refused here.
 */
async function readRequest(
  ctx: Context,
  { access, trustedOrigins, logger }: RouteTable,
  { method, action, requiredRole, takesBody }: Route,
  actor: Actor | undefined,
  layer: Layer | undefined,
): Promise<Record<string, string>> {
  try {
    if (actor?.ambient !== false) {
      refuseCrossOrigin(ctx, trustedOrigins);
      if (requiredRole !== 'public' && requiredRole !== 'page')
        refuseCrossSiteRead(ctx, trustedOrigins);
    }
    if (method !== 'GET' && !takesBody) await refuseBody(ctx);
    return layer ? pathParams(layer, ctx.path) : {};
  } catch (error) {
    const { code } = toTaskflowError(error);
    const refused = { action, actor: actor?.name, outcome: 'refused', detail: { code } } as const;
    recordRow(ctx, access, logger, refused);
    throw error;
  }
}

function wrongMethod(ctx: Context, same: readonly Route[]): TaskflowError {
  const allow = [...new Set(same.flatMap(methodsOf))].join(', ');
  return new TaskflowError(
    'METHOD_NOT_ALLOWED',
    `${ctx.method} is not allowed here. Allowed: ${allow}.`,
    { headers: { Allow: allow } },
  );
}

/**
 * Returns the user if the role suffices. Otherwise, redirects to the login page and returns
 * `undefined`, or throws.
 */
async function admit(
  ctx: Context,
  { access, logger }: RouteTable,
  required: Exclude<RequiredRole, 'public'>,
  route: Route | undefined,
): Promise<Actor | undefined> {
  const actor = await whoIs(ctx, access);
  if (actor === undefined) {
    if (required !== 'page' || !access.loginUrl) throw unauthenticated(ctx);
    plainHeaders(ctx);
    ctx.redirect(access.loginUrl(ctx));
    return undefined;
  }
  const role = required === 'page' ? 'viewer' : required;
  if (!hasRole(actor.roles, role)) {
    logForbidden(ctx, logger, actor, role, route?.path);
    recordRow(ctx, access, logger, {
      action: route?.action,
      actor: actor.name,
      outcome: 'refused',
      detail: { code: 'FORBIDDEN' },
    });
    throw forbidden(role);
  }
  return actor;
}

/** Logs that a user lacks the role. */
export function logForbidden(
  ctx: Context,
  logger: Logger,
  actor: Omit<Actor, 'roles'>,
  required: string,
  route?: string,
): void {
  logger.warn(
    {
      event: 'authz_fail',
      username: actor.name,
      strategy: actor.strategy,
      required,
      route,
      ...requestFields(ctx),
    },
    'role missing',
  );
}

/** The user of each request. */
const actors = perRequest<Actor>('actor');

/** An audit event without the members that are read from the request. */
type Recorded = Omit<AuditEvent, 'at' | 'ip' | 'requestId'>;

/** Logs that a command was done, refused or failed, and records it in the audit log. */
export function record(ctx: Context, access: Access, logger: Logger, event: Recorded): void {
  const { action, actor, outcome, tasks: all = [], detail } = event;
  const tasks = all.slice(0, 20);
  logger[outcome === 'done' ? 'info' : 'warn'](
    {
      event: 'authz_admin',
      action,
      username: actor,
      strategy: actors.get(ctx)?.strategy,
      outcome,
      tasks,
      count: all.length,
      ...detail,
      ...requestFields(ctx),
    },
    'command recorded',
  );
  recordRow(ctx, access, logger, { ...event, tasks });
}

/** Records a command in the audit log only, because the caller has already logged the event. */
function recordRow(
  ctx: Context,
  access: Access,
  logger: Logger,
  { action, ...event }: Omit<Recorded, 'action'> & { action: string | undefined },
): void {
  if (action === undefined) return;
  const row = {
    at: new Date().toISOString(),
    ip: clientAddress(ctx),
    requestId: requestId(ctx),
    strategy: actors.get(ctx)?.strategy,
    action,
    ...event,
  };
  void recordEvent(row, (event) => access.record?.(event), logger);
}

/**
 * Returns the user of a request according to the login.
 *
 * @throws TaskflowError the error of the login that the client may see, or STORE_UNAVAILABLE if the
 * login fails in another way or returns an invalid user.
 */
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
        'who(ctx) must return undefined, or { name, roles, ambient?, strategy? } with a string ' +
          'and a list',
      );
    actors.set(ctx, actor);
    return actor;
  } catch (error) {
    const message = 'The login could not identify the user.';
    throw (
      errorForClient(error) ?? new TaskflowError('STORE_UNAVAILABLE', message, { cause: error })
    );
  }
}
