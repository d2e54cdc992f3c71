import Koa from 'koa';
import mount from 'koa-mount';
import { type TaskAdminOptions, taskAdmin } from '../../src/admin.js';
import { TaskManager } from '../../src/manager.js';
import { recordingLogger } from './logs.js';
import { cheapHash, password, secretKey } from './passwords.js';
import { type Served, serve } from './serve.js';

export interface AdminApp extends Served {
  tasks: TaskManager;
  log: ReturnType<typeof recordingLogger>;
  /** The id of a failed task with hostile text. */
  taskId: string;
  base: string;
}

/** Serves the whole suite on its own port, with an in-memory database and two tasks. */
export async function serveAdmin(
  options: TaskAdminOptions = {},
  { proxy = false, mounted }: { proxy?: boolean; mounted?: string } = {},
): Promise<AdminApp> {
  const log = recordingLogger();
  const tasks = new TaskManager({ database: ':memory:', logger: false });
  const failing = tasks.task('failing', (text: string) => {
    throw new Error(`=cmd|'/C calc'!A0 ${text}`);
  });
  await tasks.start();
  const taskId = await failing.enqueue('an argument');
  const auth = [
    ['admin', cheapHash(password)],
    ['vera', cheapHash('three'), { roles: ['viewer'] }],
  ] as const;
  const login = options.auth !== undefined ? {} : { auth, secretKey, throttle: { floor: 0 } };
  const admin = taskAdmin(tasks, { ...login, logger: log.logger, ...options });
  const app = new Koa({ proxy });
  app.silent = true;
  app.use(mounted === undefined ? admin : mount(mounted, admin));
  app.use((ctx) => {
    ctx.body = 'elsewhere';
  });
  const served = await serve(app);
  return {
    ...served,
    tasks,
    log,
    taskId,
    base: `${served.url}${mounted ?? ''}${options.path ?? '/tasks'}`,
    async close() {
      await served.close();
      await tasks.stop({ timeout: 0 });
    },
  };
}
