import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import Router from '@koa/router';
import { createClient } from '../src/client/client.js';
import {
  backgroundTasksOf,
  createAuth,
  dashboardRoutes,
  memoryStore,
  requireAuth,
  StrategyRegistry,
  sessionOf,
  sessionToken,
  sseStream,
  staticUser,
  TaskManager,
  taskAdmin,
  taskProgress,
} from '../src/index.js';

import { testEngine } from '../src/testing/test-engine.js';

/*
 * What people do wrong in their first hour. Each mistake must end at once, with an error that names the option or the argument
 * and what is accepted.
 */

/** Passes what the types would refuse: many apps are JavaScript. */
function wrong<T>(value: unknown): T {
  return value as T;
}

const made: TaskManager[] = [];
const manager = (options: object = {}): TaskManager => {
  const tasks = new TaskManager({ database: ':memory:', logger: false, ...options });
  made.push(tasks);
  return tasks;
};
const noop = (): number => 1;
const withEngine = (options: object) => new TaskManager({ engine: testEngine(), ...wrong<object>(options) });
const send = (options?: object) => manager().task('send', noop, options);
const loose = () => manager().task('send', (..._args: never[]) => 1);
const user: [string, string] = ['admin', 'correct horse battery'];
const secretKey = 'abcdefghijklmnopqrstuvwxyz0123456789';
const login = (options: object) => createAuth({ strategies: user, secretKey, logger: false, ...options });
const by = { actor: 'ada' };

afterAll(() => Promise.all(made.map((tasks) => tasks.stop({ timeout: 0 }))));

type Mistake = [mistake: string, make: () => unknown, name: string, code: string, names: RegExp];

const ofManager: Mistake[] = [
  ['the path alone', () => new TaskManager(wrong('tasks.db')), 'TypeError', 'INVALID_INPUT', /TaskManager.*database/],
  ['options that are not awaited', () => new TaskManager(wrong(Promise.resolve({}))), 'TypeError', 'INVALID_INPUT', /promise.*database/],
  ['options in a Map', () => new TaskManager(wrong(new Map([['database', 'x.db']]))), 'TypeError', 'INVALID_INPUT', /Map.*database/],
  ['a misspelt option', () => manager({ databse: 'x.db' }), 'TypeError', 'INVALID_INPUT', /databse.*database/],
  ['a URL for a path', () => manager({ database: 'file:tasks.db' }), 'RangeError', 'INVALID_INPUT', /^database/],
  ['a number as text', () => manager({ concurrency: '5' }), 'TypeError', 'INVALID_INPUT', /^concurrency/],
  ['words for days', () => manager({ retentionDays: '30 days' }), 'TypeError', 'INVALID_INPUT', /^retentionDays/],
  ['a logger that is true', () => manager({ logger: true }), 'TypeError', 'INVALID_INPUT', /^logger.*pino.*false/],
  ['a short encryption key', () => manager({ encryptionKeys: 'secret' }), 'RangeError', 'INVALID_INPUT', /^encryptionKeys.*32/],
  ['retention beside an engine', () => withEngine({ retentionDays: 7 }), 'TypeError', 'INVALID_INPUT', /^retentionDays.*bullmqEngine/],
  ['a count beside an engine', () => withEngine({ retentionCount: 7 }), 'TypeError', 'INVALID_INPUT', /^retentionCount.*bullmqEngine/],
  ['statistics beside an engine', () => withEngine({ stats: {} }), 'TypeError', 'INVALID_INPUT', /^stats.*bullmqEngine/],
  ['a poll interval beside an engine', () => withEngine({ pollInterval: 1 }), 'TypeError', 'INVALID_INPUT', /^pollInterval.*engine/],
  [
    'an interval of a millisecond',
    () => manager().schedule('tick', noop, { every: 0.001 }),
    'RangeError',
    'INVALID_INPUT',
    /^every.*0\.05/,
  ],
  ['an interval that is no number', () => manager().schedule('tick', noop, { every: Number.NaN }), 'TypeError', 'INVALID_INPUT', /^every/],
  [
    'an endless interval',
    () => manager().schedule('tick', noop, { every: Number.POSITIVE_INFINITY }),
    'RangeError',
    'INVALID_INPUT',
    /^every/,
  ],
  ['database and engine', () => manager({ engine: {} }), 'TypeError', 'INVALID_INPUT', /database and engine/],
  [
    'a folder that is missing',
    () => new TaskManager({ database: join(tmpdir(), 'missing', 'tasks.db'), logger: false }).start(),
    'TaskflowError',
    'ENGINE_UNAVAILABLE',
    /tasks\.db.*folder/,
  ],
  [
    'a folder for a file',
    () => new TaskManager({ database: tmpdir(), logger: false }).start(),
    'TaskflowError',
    'ENGINE_UNAVAILABLE',
    /folder/,
  ],
  ['an unknown option of start', () => manager().start(wrong({ workers: 3 })), 'TypeError', 'INVALID_INPUT', /workers.*run/],
  ['a number for the options of stop', () => manager().stop(wrong(5)), 'TypeError', 'INVALID_INPUT', /stop.*timeout/],
  ['an event of another library', () => manager().on(wrong('completed'), noop), 'TypeError', 'INVALID_INPUT', /completed.*success/],
  [
    'start after stop',
    async () => {
      const tasks = manager();
      await tasks.start();
      await tasks.stop();
      await tasks.start();
    },
    'TaskflowError',
    'ENGINE_UNAVAILABLE',
    /stopped/,
  ],
  ['the word of another library', () => manager({ db: 'x.db' }), 'TypeError', 'INVALID_INPUT', /"db".*Did you mean "database"/],
  [
    'a factory for an engine',
    () => new TaskManager(wrong({ engine: () => ({}) })),
    'TypeError',
    'INVALID_INPUT',
    /^engine is a function.*TaskEngine/,
  ],
  [
    'a key in a Buffer',
    () => manager({ encryptionKeys: Buffer.alloc(32, 7) }),
    'TypeError',
    'INVALID_INPUT',
    /^encryptionKeys is a .*Array.*string/,
  ],
  ['a unit in a size', () => manager({ limits: { argsBytes: '1mb' } }), 'TypeError', 'INVALID_INPUT', /argsBytes.*bytes/],
  ['a number of tasks for stats', () => manager({ stats: 7 }), 'TypeError', 'INVALID_INPUT', /stats.*minuteDays/],
  ['a switch for run', () => manager().start(wrong({ run: 'false' })), 'TypeError', 'INVALID_INPUT', /^run is "false".*true or false/],
  [
    'a listener before the state',
    () => manager().on(wrong(noop), wrong('failed')),
    'TypeError',
    'INVALID_INPUT',
    /^state is a function.*tasks\.on\('failed'/,
  ],
];

const ofTasks: Mistake[] = [
  ['a task without a name', () => manager().task(wrong(noop), wrong<never>(undefined)), 'TypeError', 'INVALID_INPUT', /^name of a task/],
  [
    'an import that is undefined',
    () => manager().task('send', wrong<never>(undefined)),
    'TypeError',
    'INVALID_INPUT',
    /^handler.*'send'.*function/,
  ],
  ['a handler that was called', () => manager().task('send', wrong<never>(noop())), 'TypeError', 'INVALID_INPUT', /^handler.*'send'/],
  ['a generator', () => manager().task('send', function* gen() {} as never), 'TypeError', 'INVALID_INPUT', /^handler.*'send'.*generator/],
  [
    'options before the handler',
    () => manager().task('send', wrong<never>({ retries: 3 }), wrong(noop)),
    'TypeError',
    'INVALID_INPUT',
    /^handler/,
  ],
  [
    'the same task twice',
    () => {
      const tasks = manager();
      tasks.task('send', noop);
      tasks.task('send', noop);
    },
    'RangeError',
    'INVALID_INPUT',
    /'send'/,
  ],
  ['a misspelt option', () => send({ retry: 3 }), 'TypeError', 'INVALID_INPUT', /"retry".*retries/],
  ['a unit in a text', () => send({ timeout: '30s' }), 'TypeError', 'INVALID_INPUT', /^timeout.*'send'.*seconds/],
  ['a negative time', () => send({ delay: -1 }), 'RangeError', 'INVALID_INPUT', /^delay.*'send'.*seconds/],
  ['an error class for retryOn', () => send({ retryOn: TypeError }), 'TypeError', 'INVALID_INPUT', /^retryOn.*'send'.*TypeError/],
  ['an async retryOn', () => send({ retryOn: async () => true }), 'TypeError', 'INVALID_INPUT', /^retryOn.*'send'.*async/],
  ['a word for backoff', () => send({ backoff: 'exponential' }), 'TypeError', 'INVALID_INPUT', /^backoff.*'send'.*function/],
  ['a list of tags', () => send({ tags: ['mail'] }), 'TypeError', 'INVALID_INPUT', /^tags.*'send'/],
  ['a word for priority', () => send({ priority: 'high' }), 'TypeError', 'INVALID_INPUT', /^priority.*'send'/],
  ['a Date for an argument', () => loose().enqueue(wrong(new Date())), 'TypeError', 'INVALID_INPUT', /'send'.*args\[0\] is a Date/],
  [
    'the request for an argument',
    () => loose().enqueue(wrong({ body: new Blob() })),
    'TypeError',
    'INVALID_INPUT',
    /args\[0\]\.body is a Blob/,
  ],
  ['an argument too large', () => loose().enqueue(wrong('x'.repeat(2 ** 20))), 'RangeError', 'INVALID_INPUT', /'send'.*1048576/],
  ['values for lists of arguments', () => loose().enqueueMany(wrong(['a', 'b'])), 'TypeError', 'INVALID_INPUT', /\[0\].*list of arguments/],
  ['delay for runIn', () => send().with(wrong({ delay: 5 })), 'TypeError', 'INVALID_INPUT', /delay.*runIn/],
  ['a text for a Date', () => send().with(wrong({ runAt: '2030-01-01' })), 'TypeError', 'INVALID_INPUT', /^runAt.*'send'.*Date/],
  ['progress of 0 by 0', () => taskProgress(0 / 0), 'TypeError', 'INVALID_INPUT', /taskProgress.*0 to 1/],
  [
    'a name after the handler',
    () => manager().task(wrong(noop), wrong<never>('send')),
    'TypeError',
    'INVALID_INPUT',
    /^name of a task is a function.*tasks\.task\(/,
  ],
  [
    'a module for a handler',
    () => import('node:fs').then((module) => manager().task('send', wrong<never>(module))),
    'TypeError',
    'INVALID_INPUT',
    /^handler.*'send' is a module/,
  ],
  [
    'an import that is not awaited',
    () => manager().task('send', wrong<never>(import('node:fs'))),
    'TypeError',
    'INVALID_INPUT',
    /^handler.*'send' is a promise that is not awaited/,
  ],
  ['a handler for a definition', () => manager().define('send', wrong(noop)), 'TypeError', 'INVALID_INPUT', /define.*handle\(/],
  ['the attempts of another library', () => send({ attempts: 3 }), 'TypeError', 'INVALID_INPUT', /"attempts".*Did you mean "retries"/],
  [
    'the backoff of another library',
    () => send({ backoff: { type: 'exponential', delay: 1000 } }),
    'TypeError',
    'INVALID_INPUT',
    /^backoff.*'send' is an object.*function/,
  ],
  [
    'an async backoff',
    () => send({ backoff: async () => 3 }),
    'TypeError',
    'INVALID_INPUT',
    /^backoff.*'send' is an async function.*at once/,
  ],
  ['a Date for seconds', () => send({ deadline: new Date() }), 'TypeError', 'INVALID_INPUT', /^deadline.*'send' is a Date.*seconds/],
  ['null for no timeout', () => send({ timeout: null }), 'TypeError', 'INVALID_INPUT', /^timeout.*'send' is null.*seconds/],
  [
    'no end of retries',
    () => send({ retries: Number.POSITIVE_INFINITY }),
    'RangeError',
    'INVALID_INPUT',
    /^retries.*'send' is Infinity.*1000/,
  ],
  ['a number for a tag', () => send({ tags: { tenant: 7 } }), 'TypeError', 'INVALID_INPUT', /^tags\.tenant.*'send' is 7.*string/],
  [
    'an argument that is not awaited',
    () => loose().enqueue(wrong(Promise.resolve(1))),
    'TypeError',
    'INVALID_INPUT',
    /'send'.*args\[0\] is a Promise/,
  ],
  [
    'a number for an idempotency key',
    () => send().with(wrong({ idempotencyKey: 42 })),
    'TypeError',
    'INVALID_INPUT',
    /^idempotencyKey is 42.*string/,
  ],
  [
    'the job id of another library',
    () => send().with(wrong({ jobId: 'a' })),
    'TypeError',
    'INVALID_INPUT',
    /"jobId".*Did you mean "idempotencyKey"/,
  ],
  [
    'milliseconds for a Date',
    () => send().with(wrong({ runAt: 1_800_000_000_000 })),
    'TypeError',
    'INVALID_INPUT',
    /^runAt.*'send' is 1800000000000.*Date/,
  ],
  [
    'an invalid Date',
    () => send().with(wrong({ runAt: new Date('tomorrow') })),
    'TypeError',
    'INVALID_INPUT',
    /^runAt.*'send' is an invalid Date/,
  ],
  ['a task by its name', () => manager().enqueue(wrong('send')), 'TypeError', 'INVALID_INPUT', /^tasks is "send".*prepare/],
  [
    'ids that are not awaited',
    () => manager().enqueue(wrong([Promise.resolve('id')])),
    'TypeError',
    'INVALID_INPUT',
    /^tasks\[0\] is a promise.*prepare/,
  ],
];

const ofCommands: Mistake[] = [
  ['a missing await', () => manager().get(wrong(Promise.resolve('id'))), 'TypeError', 'INVALID_INPUT', /^id is a promise/],
  ['a misspelt condition', () => manager().find(wrong({ stauts: ['failed'] })), 'TypeError', 'INVALID_INPUT', /stauts.*status/],
  [
    'a state of another library',
    () => manager().find(wrong({ status: ['completed'] })),
    'RangeError',
    'INVALID_INPUT',
    /status.*completed/,
  ],
  ['id for ids', () => manager().control(wrong({ action: 'cancel', id: 'x' }), by), 'TypeError', 'INVALID_INPUT', /"id".*ids/],
  ['ids that are undefined', () => manager().control(wrong({ action: 'cancel', ids: undefined }), by), 'TypeError', 'INVALID_INPUT', /ids/],
  [
    'a misspelt filter',
    () => manager().control(wrong({ action: 'delete', filter: { nam: 'x' } }), by),
    'TypeError',
    'INVALID_INPUT',
    /nam.*name/,
  ],
  [
    'an action that is none',
    () => manager().control(wrong({ action: 'stop', ids: ['x'] }), by),
    'RangeError',
    'INVALID_INPUT',
    /stop.*cancel/,
  ],
  [
    'a schedule without a rule',
    () => manager().schedule('nightly', noop, wrong({})),
    'TypeError',
    'INVALID_INPUT',
    /'nightly'.*every.*cron/,
  ],
  [
    'a unit in every',
    () => manager().schedule('nightly', noop, wrong({ every: '1h' })),
    'TypeError',
    'INVALID_INPUT',
    /every.*'nightly'.*seconds/,
  ],
  ['a wrong cron', () => manager().schedule('nightly', noop, { cron: '0 99 * * *' }), 'RangeError', 'INVALID_INPUT', /0 99 \* \* \*/],
  [
    'a task of another manager',
    () => manager().schedule('nightly', send(), { every: 60 }),
    'RangeError',
    'INVALID_INPUT',
    /'nightly'.*'send'/,
  ],
  ['tags for tag', () => manager().find(wrong({ tags: ['a'] })), 'TypeError', 'INVALID_INPUT', /"tags".*Did you mean "tag"/],
  ['a condition that is a function', () => manager().find(wrong(noop)), 'TypeError', 'INVALID_INPUT', /^query is a function.*\{ status: /],
  [
    'the time in milliseconds',
    () => manager().find(wrong({ from: 1_800_000_000_000 })),
    'TypeError',
    'INVALID_INPUT',
    /^query\.from is 1800000000000.*Date/,
  ],
  ['an invalid Date', () => manager().find({ from: new Date('x') }), 'TypeError', 'INVALID_INPUT', /^query\.from is an invalid Date/],
  [
    'tasks for ids',
    () => manager().control(wrong({ action: 'cancel', ids: [{ id: 'x' }] }), by),
    'TypeError',
    'INVALID_INPUT',
    /^command\.ids\[0\] is an object.*id of a task/,
  ],
  [
    'the actor first',
    () => manager().control(wrong(by), wrong({ action: 'cancel', ids: ['x'] })),
    'TypeError',
    'INVALID_INPUT',
    /"actor".*second argument/,
  ],
  [
    'a dry run in the command',
    () => manager().control(wrong({ action: 'cancel', filter: 'all', dryRun: true }), by),
    'TypeError',
    'INVALID_INPUT',
    /"dryRun".*second argument/,
  ],
  [
    'a user for the actor',
    () => manager().control({ action: 'cancel', ids: ['x'] }, wrong({ user: 'ada' })),
    'TypeError',
    'INVALID_INPUT',
    /"user".*Did you mean "actor"/,
  ],
  [
    'a schedule that does not exist',
    () => manager().control({ action: 'pause', schedule: 'nightly' }, by),
    'TaskflowError',
    'NOT_FOUND',
    /no schedule "nightly"/,
  ],
  [
    'a schedule with its name last',
    () => manager().schedule(wrong(noop), wrong<never>('nightly'), { every: 60 }),
    'TypeError',
    'INVALID_INPUT',
    /^name of a schedule is a function.*schedule\(name, task/,
  ],
  [
    'a schedule with its rule second',
    () => manager().schedule('nightly', wrong<never>('0 3 * * *'), wrong(noop)),
    'TypeError',
    'INVALID_INPUT',
    /^task of schedule 'nightly' is "0 3/,
  ],
  [
    'a schedule of a task with options',
    () => manager().schedule('nightly', wrong<never>(send().with({ queue: 'a' })), { every: 60 }),
    'TypeError',
    'INVALID_INPUT',
    /'nightly' has options of with\(\)/,
  ],
  [
    'a full name in a cron',
    () => manager().schedule('nightly', noop, { cron: '0 3 * * MONDAY' }),
    'RangeError',
    'INVALID_INPUT',
    /day of the week.*SUN-SAT.*"MONDAY".*three letters/,
  ],
  [
    'a sentence for a cron',
    () => manager().schedule('nightly', noop, { cron: 'sched MONDAY' }),
    'RangeError',
    'INVALID_INPUT',
    /2 fields.*minute hour day month weekday/,
  ],
  [
    'a range over midnight',
    () => manager().schedule('nightly', noop, { cron: '0 22-6 * * *' }),
    'RangeError',
    'INVALID_INPUT',
    /hour.*"22-6".*two ranges/,
  ],
  [
    'the time zone of a season',
    () => manager().schedule('nightly', noop, { cron: '0 3 * * *', timezone: 'CEST' }),
    'RangeError',
    'INVALID_INPUT',
    /"CEST".*IANA/,
  ],
];

const ofLogin: Mistake[] = [
  ['a text for a user', () => taskAdmin(manager(), { auth: wrong('admin:Pa55') }), 'TypeError', 'INVALID_INPUT', /^auth.*\['admin'/],
  [
    'a variable that is not set',
    () => taskAdmin(manager(), { auth: ['admin', undefined] }),
    'TypeError',
    'INVALID_INPUT',
    /'admin'.*not set/,
  ],
  ['an empty password', () => taskAdmin(manager(), { auth: ['admin', ''] }), 'TypeError', 'INVALID_INPUT', /'admin'/],
  ['a short secretKey', () => login({ secretKey: 'secret' }), 'RangeError', 'INVALID_INPUT', /^secretKey.*32/],
  ['a secretKey without auth', () => taskAdmin(manager(), { secretKey }), 'TypeError', 'INVALID_INPUT', /^secretKey.*auth/],
  ['no strategies', () => createAuth(wrong({ secretKey })), 'TypeError', 'INVALID_INPUT', /^strategies/],
  ['a unit in a text', () => login({ tokenExpiry: '1d' }), 'TypeError', 'INVALID_INPUT', /^tokenExpiry.*seconds/],
  ['a host for an origin', () => login({ trustedOrigins: ['app.example'] }), 'TypeError', 'INVALID_INPUT', /^trustedOrigins\[0\].*https/],
  ['sameSite none over HTTP', () => login({ cookie: { sameSite: 'none' } }), 'RangeError', 'INVALID_INPUT', /sameSite.*secure/],
  [
    'a strategy without its method',
    () => new StrategyRegistry().register('ldap', wrong({ authenticate() {} })),
    'TypeError',
    'INVALID_INPUT',
    /'ldap'.*authenticate_user/,
  ],
  ['options for a login', () => sessionToken(wrong({ strategies: user })), 'TypeError', 'INVALID_INPUT', /^auth.*createAuth/],
  ['a guard without a mode', () => requireAuth(wrong(undefined)), 'TypeError', 'INVALID_INPUT', /requireAuth.*'redirect'.*'401'/],
  ['a list of roles', () => requireAuth('401', { role: wrong(['admin']) }), 'TypeError', 'INVALID_INPUT', /^role.*'operator'/],
  [
    'a user as an object',
    () => taskAdmin(manager(), { auth: wrong({ username: 'admin', password: 'Pa55word1234' }) }),
    'TypeError',
    'INVALID_INPUT',
    /^auth is an object.*createAuth.*who.*null/,
  ],
  [
    'a number for a password',
    () => taskAdmin(manager(), { auth: wrong([['admin', 55_555_555]]) }),
    'TypeError',
    'INVALID_INPUT',
    /'admin' is a number/,
  ],
  [
    'users as objects',
    () => taskAdmin(manager(), { auth: wrong([{ username: 'a', password: 'Pa55word' }]) }),
    'TypeError',
    'INVALID_INPUT',
    /^auth\[0\] is an object.*\['alice'/,
  ],
  [
    'a list of strategies',
    () => login({ strategies: [staticUser('admin', 'correct horse battery')] }),
    'TypeError',
    'INVALID_INPUT',
    /^strategies is a list of strategies.*StrategyRegistry/,
  ],
  [
    'the registry for the options',
    () => createAuth(wrong(new StrategyRegistry())),
    'TypeError',
    'INVALID_INPUT',
    /StrategyRegistry.*createAuth\(\{ strategies/,
  ],
  [
    'options for the mode',
    () => requireAuth(wrong({ role: 'admin' })),
    'TypeError',
    'INVALID_INPUT',
    /^the first argument of requireAuth is an object.*'redirect'/,
  ],
  ['the login for the options', () => requireAuth('401', wrong(login({}))), 'TypeError', 'INVALID_INPUT', /requireAuth.*\{ auth \}/],
  [
    'one role for roles',
    () => staticUser('a', 'correct horse battery', wrong({ role: 'admin' })),
    'TypeError',
    'INVALID_INPUT',
    /"role".*Did you mean "roles"/,
  ],
  ['a session without sessionToken', () => sessionOf({ state: {} }), 'TaskflowError', 'INTERNAL', /sessionToken\(auth\).*requireAuth/],
  ['a session of nothing', () => sessionOf(wrong(undefined)), 'TypeError', 'INVALID_INPUT', /^ctx is undefined.*Koa/],
  [
    'a method in camel case',
    () => new StrategyRegistry().register('ldap', wrong({ authenticateUser() {} })),
    'TypeError',
    'INVALID_INPUT',
    /'ldap'.*authenticate_user/,
  ],
  ['the options of a store as a number', () => memoryStore(wrong(5)), 'TypeError', 'INVALID_INPUT', /memoryStore.*maxKeys/],
];

const ofApp: Mistake[] = [
  ['no manager', () => taskAdmin(wrong(undefined)), 'TypeError', 'INVALID_INPUT', /^tasks.*TaskManager/],
  ['the class', () => taskAdmin(wrong(TaskManager)), 'TypeError', 'INVALID_INPUT', /^tasks is the class.*new TaskManager/],
  ['a promise of it', () => taskAdmin(wrong(Promise.resolve(manager()))), 'TypeError', 'INVALID_INPUT', /^tasks is a promise/],
  ['a slash at the end', () => taskAdmin(manager(), { path: '/tasks/' }), 'RangeError', 'INVALID_INPUT', /^path is "\/tasks\/"/],
  ['no slash at the beginning', () => dashboardRoutes(manager(), { path: 'tasks' }), 'RangeError', 'INVALID_INPUT', /^path is "tasks"/],
  ['user for auth', () => taskAdmin(manager(), wrong({ user })), 'TypeError', 'INVALID_INPUT', /"user".*auth/],
  [
    'another path than the login',
    () => taskAdmin(manager(), { path: '/jobs', auth: login({}) }),
    'RangeError',
    'INVALID_INPUT',
    /^path.*jobs.*tasks/,
  ],
  ['a router', () => new Router().use('/jobs', taskAdmin(manager())), 'TypeError', 'INVALID_INPUT', /router\.use.*app\.use/],
  ['Express', () => taskAdmin(manager())(wrong({ path: '/' }), wrong({})), 'TypeError', 'INVALID_INPUT', /Express.*callback/],
  ['a list for a stream', () => sseStream(wrong(['a'])), 'TypeError', 'INVALID_INPUT', /^source.*AsyncIterable/],
  ['a client without an address', () => createClient(wrong(undefined)), 'TypeError', 'INVALID_INPUT', /^base/],
  ['a context without its middleware', () => backgroundTasksOf({}), 'Error', 'undefined', /backgroundTasks.*app\.use/],
  [
    'access for auth',
    () => taskAdmin(manager(), wrong({ access: login({}) })),
    'TypeError',
    'INVALID_INPUT',
    /"access".*Did you mean "auth"/,
  ],
  ['the manager as a stream', () => sseStream(wrong(manager())), 'TypeError', 'INVALID_INPUT', /^source is a TaskManager.*taskEvents/],
  [
    'a client with a slash at the end',
    () => createClient('https://shop.example.com/tasks/'),
    'TypeError',
    'INVALID_INPUT',
    /^base.*slash at the end/,
  ],
  [
    'a bulk command without a body',
    () => createClient('http://127.0.0.1:9').bulk(wrong(undefined)),
    'TypeError',
    'INVALID_INPUT',
    /^body is undefined.*action/,
  ],
];

describe.each([
  ['the manager', ofManager],
  ['tasks', ofTasks],
  ['queries, commands and schedules', ofCommands],
  ['the login', ofLogin],
  ['the app', ofApp],
])('a usual mistake with %s', (_part, mistakes) => {
  it.each(mistakes)('%s', async (_mistake, make, name, code, names) => {
    const error = await Promise.resolve()
      .then(make)
      .then(
        () => new Error('nothing was thrown'),
        (thrown: Error) => thrown,
      );
    expect([error.name, String((error as { code?: unknown }).code)]).toEqual([name, code]);
    expect(error.message).toMatch(names);
    expect(error.message).not.toMatch(/Pa55|5555|undefined is not|Cannot read/);
    expect(error.message.length).toBeLessThan(450);
  });
});
