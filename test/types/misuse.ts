/*
 * Code that must not compile. The line below each expected error must cause an error. Otherwise the
 * type check fails.
 */

import type { BackgroundTasks, TaskEngine } from 'koa-taskflow';
import {
  backgroundTasks,
  createAuth,
  loginRoutes,
  multiUser,
  requireAuth,
  StrategyRegistry,
  sessionToken,
  sseStream,
  TaskManager,
  taskAdmin,
  taskProgress,
  taskRoutes,
} from 'koa-taskflow';
import { createClient } from 'koa-taskflow/client';
import type { DatabaseSyncInstance } from 'koa-taskflow/sqlite';
import type { LoginRoute } from '../../src/auth/openapi.js';
import type { Route } from '../../src/http/routes.js';
import { actionRow } from '../../src/web/action-row.js';
import { readRow } from '../../src/web/row.js';

const tasks = new TaskManager();
declare const never: () => never;
const send = tasks.task('send', async (address: string, copies?: number) => `${address}${copies}`);
declare const background: BackgroundTasks;

// Arguments are those of the handler.
void send.enqueue('a', 1);
void send.enqueue('a');
// @ts-expect-error an argument is missing
void send.enqueue();
// @ts-expect-error an argument is of another type
void send.enqueue(7);
// @ts-expect-error there is no third argument
void send.enqueue('a', 1, true);
// @ts-expect-error a list of lists is needed
void send.enqueueMany(['a']);
// @ts-expect-error an argument is of another type
background.add(send, 7);
// @ts-expect-error a declared task has arguments too
void tasks.define<[file: string]>('d').enqueue(1);
// @ts-expect-error define takes no handler
tasks.define('f', {}, () => {});
// @ts-expect-error a handler of other parameters
tasks.define<[file: string]>('e').handle((n: number) => n);

// Parameters are of kinds that JSON carries.
tasks.task('plain', (user: { name: string }, list: readonly number[], maybe: string | null) => [
  user,
  list,
  maybe,
]);
// @ts-expect-error a Date
tasks.task('date', (at: Date) => at);
// @ts-expect-error a Date or a text
tasks.task('union', (at: Date | string) => at);
// @ts-expect-error a Map
tasks.task('map', (map: Map<string, string>) => map);
// @ts-expect-error a function
tasks.task('function', (done: () => void) => done());
// @ts-expect-error a bigint
tasks.task('bigint', (n: bigint) => n);
// @ts-expect-error a Buffer
tasks.task('buffer', (data: Buffer) => data);

// Options are those that there are.
// @ts-expect-error no such option of a manager
new TaskManager({ databse: 'x' });
declare const engine: TaskEngine;
new TaskManager({ engine, concurrency: 5, encryptionKeys: 'k', logger: false });
// @ts-expect-error an engine has its own storage
new TaskManager({ engine, database: 'x' });
// @ts-expect-error an engine has its own retention
new TaskManager({ engine, retentionDays: 7 });
// @ts-expect-error an engine has its own retention
new TaskManager({ engine, retentionCount: 7 });
// @ts-expect-error an engine has its own statistics
new TaskManager({ engine, stats: { minuteDays: 7 } });
// @ts-expect-error an engine has its own way to see other processes
new TaskManager({ engine, pollInterval: 1 });
// @ts-expect-error no such option of a task
tasks.task('x', () => {}, { retry: 3 });
// @ts-expect-error no such option of a call: it is runIn
send.with({ delay: 1 });
// @ts-expect-error runAt is a Date
send.with({ runAt: '2026-01-01' });
// @ts-expect-error args are required
tasks.schedule('s', send, { every: 5 });
tasks.schedule('s', send, { every: 5, args: ['a'] });
tasks.schedule('n', () => {}, { every: 5 });
// @ts-expect-error every and cron exclude each other
tasks.schedule('b', () => {}, { every: 5, cron: '* * * * *' });
// @ts-expect-error no such state
tasks.on('done', () => {});

// The login.
const auth = createAuth({
  strategies: ['admin', process.env.PASSWORD],
  secretKey: process.env.KEY,
});
// @ts-expect-error strategies are required
createAuth({});
// @ts-expect-error no such option
createAuth({ strategies: ['a', 'b'], secret: 'x' });
// @ts-expect-error a user has a name and a password
createAuth({ strategies: ['a'] });
// @ts-expect-error no such option of a user
multiUser([['a', 'b', { role: 'viewer' }]]);
// @ts-expect-error a verdict is a boolean or an object with ok: true
new StrategyRegistry().register('x', { authenticate_user: () => 'yes' });
// @ts-expect-error a database row is no verdict
new StrategyRegistry().register('x', { authenticate_user: async () => ({ id: 7 }) });
// @ts-expect-error no such mode
requireAuth('403');
// @ts-expect-error no such option
requireAuth('401', { roles: 'viewer' });
requireAuth('401', { auth, role: 'viewer' });
// @ts-expect-error what createAuth returned is needed
requireAuth('401', { auth: { who: () => undefined } });
// @ts-expect-error ambient is true or false
taskAdmin(tasks, { auth: { who: () => ({ name: 'ada', roles: [], ambient: 'no' }) } });
// @ts-expect-error a strategy answers with a list of roles
createAuth({ strategies: { authenticate_user: () => ({ ok: true, roles: 'admin' }) } });
// @ts-expect-error what createAuth returned is needed
sessionToken({ who: () => undefined });
// @ts-expect-error what createAuth returned is needed
loginRoutes(['admin', 'secret']);

// The web.
// @ts-expect-error no such option
taskAdmin(tasks, { titel: 'x' });
// @ts-expect-error a task manager is needed
taskRoutes({});
declare const nameless: AsyncIterable<{ data: number }>;
// @ts-expect-error an event has a name and data
sseStream(nameless);
// @ts-expect-error a task manager is needed
backgroundTasks({});
taskRoutes(tasks, { access: auth });

// A route names its required role.
// @ts-expect-error the required role is missing
export const unguarded: Route = { method: 'GET', path: '/x', handler: () => {} };
// @ts-expect-error there is no such role
export const misguarded: Route = { ...unguarded, requiredRole: 'nobody' };

// A route of the login has its text for the OpenAPI document, or says that it has none.
// @ts-expect-error the operation is missing
export const undescribed: LoginRoute = { ...unguarded, requiredRole: 'public' };

// A row documents its route, and names its schemas.
const columns = { id: 'x', summary: 'X', tag: 'tasks', requiredRole: 'viewer' } as const;
readRow('GET /x', { ...columns, answer: 'health', handler: async () => ({ status: 'ok' }) });
// @ts-expect-error the summary is missing
readRow('GET /x', {
  id: 'x',
  tag: 'tasks',
  requiredRole: 'viewer',
  answer: 'health',
  handler: never,
});
// @ts-expect-error the answer is missing
readRow('GET /x', { ...columns, handler: never });
// @ts-expect-error there is no such role
readRow('GET /x', { ...columns, requiredRole: 'everybody', answer: 'health', handler: never });
// @ts-expect-error the name of the schema of the answer is misspelt
readRow('GET /x', { ...columns, answer: 'healthy', handler: never });
// @ts-expect-error the name of the schema of the query is misspelt
readRow('GET /x', { ...columns, query: 'listQeury', answer: 'health', handler: never });
// @ts-expect-error the schema of a body is no schema of a query
readRow('GET /x', { ...columns, query: 'bulkBody', answer: 'health', handler: never });
// @ts-expect-error the handler answers something else
readRow('GET /x', { ...columns, answer: 'health', handler: async () => ({ status: 'well' }) });
// @ts-expect-error a command has a name in the audit
actionRow('POST /x', { ...columns, answer: 'queueAnswer', handler: never });
// @ts-expect-error a route that reads is a GET
readRow('POST /x', { ...columns, answer: 'health', handler: never });
readRow('GET /x/:name', {
  ...columns,
  query: 'logQuery',
  answer: 'health',
  handler: async ({ params, query }) => {
    void params.name.length;
    void query.limit;
    // @ts-expect-error the path has no such parameter
    void params.id;
    // @ts-expect-error the query has no such parameter
    void query.from;
    return { status: 'ok' };
  },
});

// The options of the login have fixed types.
createAuth({ strategies: ['a', 'b'], throttle: false, idleTimeout: 60, auditRetentionDays: 7 });
// @ts-expect-error a throttle is an object or false
createAuth({ strategies: ['a', 'b'], throttle: true });
// @ts-expect-error a limit is a number
createAuth({ strategies: ['a', 'b'], throttle: { pair: '5' } });
// @ts-expect-error there is no such limit
createAuth({ strategies: ['a', 'b'], throttle: { perUser: 5 } });
// @ts-expect-error find_user must return a version
createAuth({ strategies: { authenticate_user: () => false, find_user: () => ({ roles: [] }) } });
// @ts-expect-error an actor needs roles
taskAdmin(tasks, { auth: { who: () => ({ name: 'ada' }) } });
// @ts-expect-error the username is missing
void createAuth({ strategies: ['a', 'b'] }).signOutEverywhere('alice');

// Task options that are functions, and transactions of the app.
tasks.task('patient', () => 1, {
  backoff: (tryNumber, error) => (error instanceof RangeError ? tryNumber : 60),
  retryOn: () => true,
});
// @ts-expect-error a backoff function returns seconds
tasks.task('patient', () => 1, { backoff: () => 'soon' });
// @ts-expect-error retryOn returns a boolean
tasks.task('patient', () => 1, { retryOn: () => 'yes' });
declare const shop: DatabaseSyncInstance;
send.with({ idempotencyKey: 'k', deadline: 60 }).enqueueIn(shop, 'ada@example.com');
// @ts-expect-error the arguments are the handler's
send.enqueueIn(shop, 5);
// @ts-expect-error a connection comes first
send.enqueueIn('ada@example.com');
// What node:sqlite does not have of the driver.
declare const node: Omit<DatabaseSyncInstance, 'getLimit' | 'setLimit' | 'limits'>;
// @ts-expect-error a connection of node:sqlite is of another SQLite library
send.enqueueIn(node, 'ada@example.com');
declare const better: {
  readonly inTransaction: boolean;
  exec(sql: string): unknown;
  prepare(sql: string): {
    run(...values: unknown[]): unknown;
    get(...values: unknown[]): unknown;
    all(...values: unknown[]): unknown[];
  };
};
// @ts-expect-error a connection of better-sqlite3 is of another SQLite library
send.enqueueIn(better, 'ada@example.com');
tasks.schedule('often', send, {
  every: 60,
  args: ['ada@example.com'],
  overlap: true,
  catchUp: false,
});
// @ts-expect-error the arguments of a run are required
tasks.schedule('often', send, { every: 60, overlap: true });
void tasks.control({ action: 'pause', queue: 'bulk' }, { actor: 'ada' });
// @ts-expect-error a queue is not rerun
void tasks.control({ action: 'rerun', queue: 'bulk' }, { actor: 'ada' });
// @ts-expect-error ids are a list
void tasks.control({ action: 'retry', ids: 'x' }, { actor: 'ada' });
void tasks.control({ action: 'cancel', filter: 'all' }, { actor: 'ada', dryRun: true });
void tasks.control(
  { action: 'cancel', filter: { status: ['failed'], to: new Date() } },
  { actor: 'ada', reason: undefined },
);
// @ts-expect-error ids is misspelt
void tasks.control({ action: 'cancel', id: 'x' }, { actor: 'ada' });
// @ts-expect-error ids are undefined
void tasks.control({ action: 'cancel', ids: undefined }, { actor: 'ada' });
// @ts-expect-error there is no target
void tasks.control({ action: 'cancel' }, { actor: 'ada' });
// @ts-expect-error there are two targets
void tasks.control({ action: 'cancel', ids: ['x'], filter: 'all' }, { actor: 'ada' });
// @ts-expect-error an empty filter is not every task
void tasks.control({ action: 'cancel', filter: {} }, { actor: 'ada' });
// @ts-expect-error a condition is misspelt
void tasks.control({ action: 'cancel', filter: { nmae: 'x' } }, { actor: 'ada' });
// @ts-expect-error a condition is undefined
void tasks.control({ action: 'cancel', filter: { name: undefined } }, { actor: 'ada' });
// @ts-expect-error there is no such word for every task
void tasks.control({ action: 'cancel', filter: 'everything' }, { actor: 'ada' });
// @ts-expect-error only a retry is spread
void tasks.control({ action: 'cancel', filter: 'all', spread: 5 }, { actor: 'ada' });
// @ts-expect-error a rerun is by id
void tasks.control({ action: 'rerun', filter: 'all' }, { actor: 'ada' });
// @ts-expect-error args are a list
void tasks.control({ action: 'rerun', ids: ['x'], args: '[1]' }, { actor: 'ada' });
// @ts-expect-error a pause is of one thing
void tasks.control({ action: 'pause', queue: 'bulk', schedule: 'x' }, { actor: 'ada' });
// @ts-expect-error an actor is required
void tasks.control({ action: 'cancel', filter: 'all' }, {});
// @ts-expect-error a dry run that is undefined would be none
void tasks.control({ action: 'cancel', filter: 'all' }, { actor: 'ada', dryRun: undefined });
void tasks.find();
void tasks.find({
  status: ['failed'],
  tag: ['tenant:7'],
  from: '-6h',
  to: new Date(),
  sort: '-endedAt',
  name: undefined,
});
// @ts-expect-error no such key to sort by
void tasks.find({ limit: 5, sort: 'created_at' });
// @ts-expect-error no such condition
void tasks.find({ text: 'x' });
// @ts-expect-error times are text or Dates
void tasks.find({ from: 5 });
void tasks.find({ status: 'failed', tag: 'tenant:7' });
// @ts-expect-error no such state
void tasks.find({ status: 'completed' });
// @ts-expect-error no such option
void tasks.get('x', { logLines: 5 });
// @ts-expect-error only what prepare made is enqueued
void tasks.enqueue([{ id: 'x', name: 'send' }]);
// @ts-expect-error progress is a number
taskProgress('half');

const client = createClient('/tasks');
void client.list({ status: ['failed'], sort: '-endedAt', limit: 5 });
// @ts-expect-error there is no such state
void client.list({ status: ['gone'] });
// @ts-expect-error there is no such parameter
void client.list({ state: ['failed'] });
// @ts-expect-error nothing can be sorted by that
void client.list({ sort: 'queue' });
// @ts-expect-error an action is needed
void client.bulk({ ids: [] });
void client.bulk({ action: 'retry', filter: 'all', dryRun: true });
// @ts-expect-error there is no target
void client.bulk({ action: 'retry', dryRun: true });
// @ts-expect-error an empty filter is not every task
void client.bulk({ action: 'retry', filter: {}, dryRun: true });
// @ts-expect-error a condition is undefined
void client.bulk({ action: 'retry', filter: { name: undefined }, dryRun: true });
// @ts-expect-error a name that is undefined would be every name
void client.retryFailed({ since: '-1h', name: undefined });
// @ts-expect-error the option is misspelt
void client.deleteHistory('-1d', { dryrun: true });
// @ts-expect-error there is no such topic
void client.changes({ topics: ['logs'] });
void (async () => {
  for await (const change of client.changes()) {
    // @ts-expect-error only the changes of tasks have rows
    void change.upserts;
    if (change.type === 'tasks') void change.upserts;
  }
});
