/*
 * The public API in the order of the design of the project. This file is only compiled, never run.
 */
import Router from '@koa/router';
import Koa from 'koa';
import {
  type BackgroundTasksContext,
  backgroundTasks,
  createAuth,
  dashboardRoutes,
  loginRoutes,
  multiUser,
  requireAuth,
  type SessionState,
  StrategyRegistry,
  sessionOf,
  sessionToken,
  sseStream,
  staticUser,
  TaskManager,
  taskAdmin,
  taskContext,
  taskEvents,
  taskLog,
  taskRoutes,
} from 'koa-taskflow';
import { pino } from 'pino';

declare function checkPassword(username: string, password: string): Promise<boolean>;
declare function listReports(ctx: Koa.Context): void;
declare function createReport(ctx: Koa.Context): void;
declare function report(region: string): Promise<void>;
declare function alert(value: unknown): void;
declare const mailer: { send(address: string, options: { signal: AbortSignal }): Promise<void> };

const app = new Koa();
const router = new Router<SessionState, BackgroundTasksContext>();
const logger = pino();

const strategies = new StrategyRegistry()
  .register('admin', staticUser('admin', process.env.ADMIN_PASSWORD))
  .register(
    'team',
    multiUser([
      ['alice', 'password1'],
      ['bob', '$argon2id$v=19$...', { roles: ['viewer'] }],
    ]),
  )
  .register('database', {
    async authenticate_user(username, password) {
      return checkPassword(username, password);
    },
  });

const auth = createAuth({
  strategies,
  secretKey: process.env.TASKFLOW_SECRET_KEY,
  tokenExpiry: 3600,
  logger,
});

app.use(sessionToken(auth));
app.use(loginRoutes(auth));
router.get('/reports', requireAuth('redirect'), (ctx) => {
  ctx.body = sessionOf(ctx).username;
});
router.get('/api/reports', requireAuth('401'), listReports);
router.post('/api/reports', requireAuth('401', { role: 'operator' }), createReport);
router.get('/admin', requireAuth('redirect', { auth, role: 'admin' }), listReports);

const tasks = new TaskManager({ database: 'tasks.db' });

const sendEmail = tasks.task(
  'send_email',
  async (address: string) => {
    taskLog('sending', { address });
    await mailer.send(address, { signal: taskContext().signal });
  },
  { retries: 3, delay: 1, backoff: 2 },
);

const id: string = await sendEmail.enqueue('ada@example.com');
await sendEmail.with({ runIn: 60, priority: 5 }).enqueue('ada@example.com');
await sendEmail.with({ queue: 'bulk' }).enqueueMany([['a@x.org'], ['b@x.org']]);

tasks.schedule('nightly_report', report, {
  cron: '0 3 * * *',
  timezone: 'Europe/Berlin',
  args: ['eu'],
});
tasks.on('failed', (task) => alert(task));

app.use(backgroundTasks(tasks));
router.post('/signup', (ctx) => {
  ctx.backgroundTasks.add(sendEmail, 'ada@example.com');
});
app.use(taskAdmin(tasks, { auth: ['admin', 'secret'] }));
await tasks.start();
await tasks.stop();

const resize = tasks.define<[file: string]>('resize', { retries: 3 });
resize.handle((file) => file.length);
await tasks.start({ run: false });
await tasks.stop({ timeout: 10 });

const own = createAuth({
  strategies: ['admin', 'secret'],
  home: '/tasks/dashboard',
  store: tasks.store,
});
app.use(sessionToken(own));
app.use(loginRoutes(own));
app.use(dashboardRoutes(tasks, { path: '/tasks', access: own, title: 'Shop' }));
router.get(
  '/tasks/dashboard/stream',
  requireAuth('401'),
  sseStream(taskEvents(tasks), { access: own }),
);
app.use(router.routes() as unknown as Koa.Middleware);
app.use(taskRoutes(tasks, { path: '/tasks', access: own, displayFuncArgs: false }));

taskAdmin(tasks);
taskAdmin(tasks, { auth: null });
taskAdmin(tasks, {
  auth: [
    ['alice', 'pw'],
    ['bob', process.env.BOB_PASSWORD],
  ],
  secretKey: process.env.TASKFLOW_SECRET_KEY,
});
taskAdmin(tasks, { auth: strategies });
taskAdmin(tasks, { auth: { authenticate_user: (username) => username === 'x' } });
taskAdmin(tasks, { auth: own });
taskAdmin(tasks, {
  auth: { who: () => ({ name: 'ci', roles: ['operator'], ambient: false, strategy: 'tokens' }) },
});
createAuth({
  strategies: {
    authenticate_user: () => true,
    find_user: (_name, { signal }) => (signal.aborted ? undefined : { version: '1' }),
  },
});
taskAdmin(tasks, {
  auth: {
    who: (ctx) => (ctx.state.user ? { name: 'x', roles: ['viewer'] } : undefined),
    loginUrl: () => '/sign-in',
  },
});

export { id };
