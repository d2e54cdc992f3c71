import type { Middleware } from 'koa';
import { routeTable } from '../http/routes.js';
import type { TaskSource } from '../tasks/source.js';
import { type WebOptions, webOptions, webSettings } from './options.js';
import { type StreamLimits, sseStream } from './sse-stream.js';
import { taskEvents } from './task-events.js';

/** Serves the live stream of the tasks at `path/dashboard/stream`. */
export function streamRoute(
  tasks: TaskSource,
  { streams, ...options }: WebOptions & { streams?: StreamLimits | undefined },
): Middleware {
  const web = webSettings(webOptions.read(options, { where: 'streamRoute' }));
  const stream = sseStream(taskEvents(tasks), {
    access: web.access,
    streams,
    trustedOrigins: web.trustedOrigins,
    logger: options.logger,
  });
  return routeTable({
    ...web,
    name: 'streamRoute',
    routes: [
      {
        method: 'GET',
        path: '/dashboard/stream',
        requiredRole: 'viewer',
        handler: (ctx) => stream(ctx, async () => {}),
      },
    ],
  });
}
