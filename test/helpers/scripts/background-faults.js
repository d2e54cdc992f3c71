// Lets one kind of background work fail. Prints one line of JSON with the errors that reached the
// process and with the log lines.
import { AsyncResource } from 'node:async_hooks';
import { EventEmitter, once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { DatabaseSync } from '@photostructure/sqlite';
import Koa from 'koa';
import {
  createAuth,
  emitterEvents,
  loginRoutes,
  memoryStore,
  StrategyRegistry,
  sessionToken,
  sseStream,
  TaskManager,
  taskContext,
  taskLog,
  taskProgress,
} from 'koa-taskflow';
import { testEngine } from 'koa-taskflow/testing';

const [kind = '', database = ''] = process.argv.slice(2);

/** @type {string[]} */
const escaped = [];
process.on('uncaughtException', (error) => escaped.push(`uncaughtException: ${error}`));
process.on('unhandledRejection', (error) => escaped.push(`unhandledRejection: ${error}`));

/** @type {{ level: string, msg: string, [field: string]: unknown }[]} */
const lines = [];
/** @param {string} level */
const line = (level) => (/** @type {object} */ fields, /** @type {string} */ msg) =>
  void lines.push({ level, msg, ...fields });
/** @type {any} */
const logger = {
  debug: line('debug'),
  info: line('info'),
  warn: line('warn'),
  error: line('error'),
};

/**
 * @param {string} what
 * @returns {never}
 */
const fail = (what) => {
  throw new Error(what);
};
/** @param {() => unknown} isDone */
const until = async (isDone) => {
  for (const end = performance.now() + 20_000; !(await isDone()); await sleep(10))
    if (performance.now() > end) fail('it took too long');
};
/** @param {string} msg */
const count = (msg) => lines.filter((each) => each.msg === msg).length;

/** @param {Koa} app */
const serve = async (app) => {
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return { server, url: `http://127.0.0.1:${port}` };
};

/**
 * Abort listeners of every form. Resolves when the signal aborts.
 * @param {AbortSignal} signal
 */
const badListeners = (signal) => {
  signal.addEventListener('abort', () => fail('listener'), { once: true });
  signal.addEventListener('abort', async () => fail('async listener'));
  signal.addEventListener('abort', { handleEvent: () => fail('object') });
  signal.onabort = () => fail('onabort');
  return new Promise((resolve) => signal.addEventListener('abort', resolve));
};

/** @type {Record<string, () => Promise<void>>} */
const kinds = {
  async abort() {
    const tasks = new TaskManager({ database: ':memory:', logger });
    const late = tasks.task('late', () => badListeners(taskContext().signal), { timeout: 0.05 });
    const long = tasks.task('long', () => badListeners(taskContext().signal));
    await tasks.start();
    const [, id] = [await late.enqueue(), await long.enqueue()];
    await until(async () => (await tasks.get(id))?.status === 'running');
    await tasks.control({ action: 'cancel', ids: [id] }, { actor: 'test' });
    await until(async () => (await tasks.get(id))?.status === 'cancelled');
    await long.enqueue();
    await sleep(100);
    await tasks.stop({ timeout: 0.05 });
  },
  async listener() {
    const tasks = new TaskManager({ database: ':memory:', logger });
    const noop = tasks.task('noop', () => 1);
    tasks.on('success', () => fail('listener'));
    tasks.on('success', async () => fail('async listener'));
    await tasks.start();
    await noop.enqueue();
    await until(() => count('a listener failed') === 2);
    await tasks.stop();
  },
  async emitter() {
    const emitter = new EventEmitter();
    /** @type {string[]} */
    const left = [];
    emitter.off = (name) => {
      left.push(String(name));
      return fail('off');
    };
    const app = new Koa();
    app.use(sseStream(emitterEvents(emitter, ['one', 'two']), { logger }));
    const { server, url } = await serve(app);
    const client = new AbortController();
    await fetch(url, { signal: client.signal });
    await until(() => emitter.listenerCount('two') > 0);
    client.abort();
    await until(() => left.length === 2 && lines.length > 0);
    // A client that does not read is disconnected, which is not an error of the emitting code.
    const behind = await fetch(url);
    await until(() => emitter.listenerCount('two') > 1);
    for (let n = 0; n < 1200; n++) emitter.emit('two', n);
    await behind.text();
    server.close();
  },
  async source() {
    const app = new Koa();
    app.use(
      sseStream(
        async function* ({ signal }) {
          void badListeners(signal);
          try {
            yield { event: 'one', data: 1 };
            await once(signal, 'abort');
          } finally {
            fail('return');
          }
        },
        { logger },
      ),
    );
    const { server, url } = await serve(app);
    const client = new AbortController();
    await fetch(url, { signal: client.signal });
    client.abort();
    await until(() => count('a stream failed') === 1);
    server.close();
  },
  async login() {
    const strategies = new StrategyRegistry({ timeLimit: 0.1 });
    strategies.register('slow', {
      authenticate_user: (_username, _password, { signal }) => {
        void badListeners(signal);
        return new Promise(() => {});
      },
    });
    const store = memoryStore();
    store.append = () => fail('append');
    const app = new Koa();
    const auth = createAuth({
      strategies,
      store,
      secretKey: 'another key of 32 characters, or more',
      logger,
    });
    app.use(sessionToken(auth)).use(loginRoutes(auth));
    const { server, url } = await serve(app);
    await fetch(`${url}/tasks/auth/login`, {
      method: 'POST',
      body: new URLSearchParams({ username: 'ada', password: 'no' }),
    });
    await until(() => count('an audit row could not be stored') > 0);
    server.close();
  },
  async logger() {
    const bad = {
      debug: () => fail('debug'),
      info: async () => fail('info'),
      warn: () => fail('warn'),
      error: async () => fail('error'),
    };
    const tasks = new TaskManager({ database: ':memory:', logger: /** @type {any} */ (bad) });
    const broken = tasks.task('broken', () => fail('handler'), { timeout: 5 });
    tasks.on('failed', () => fail('listener'));
    await tasks.start();
    const id = await broken.enqueue();
    await until(async () => (await tasks.get(id))?.status === 'failed');
    await tasks.stop();
  },
  async testing() {
    const engine = testEngine();
    const tasks = new TaskManager({ engine, logger });
    /** @type {() => void} */
    let late = () => {};
    const chatty = tasks.task('chatty', () => {
      late = AsyncResource.bind(() => {
        taskLog('late');
        taskProgress(0.5);
      });
    });
    await tasks.start();
    await chatty.enqueue();
    await tasks.stop();
    late();
  },
  async database() {
    let isWorkingAgain = false;
    const tasks = new TaskManager({ database, logger, pollInterval: 0.05, retentionCount: 1 });
    const chatty = tasks.task('chatty', async () => {
      while (!isWorkingAgain) {
        taskLog('a line');
        taskProgress(0.5);
        await sleep(10);
      }
    });
    const ending = tasks.task('ending', () => sleep(1000));
    const noop = tasks.task('noop', () => 1);
    tasks.schedule('often', noop, { every: 1 });
    await tasks.start();
    const id = await chatty.enqueue();
    const ended = await ending.enqueue();
    await until(async () => (await tasks.get(ended))?.status === 'running');
    const other = new DatabaseSync(database);
    other.exec('PRAGMA busy_timeout = 10000');
    const tables = ['task', 'log', 'schedule', 'worker', 'attempt', 'shared', 'partition', 'meta'];
    other.exec(tables.map((table) => `ALTER TABLE ${table} RENAME TO away_${table};`).join(''));
    await sleep(3500);
    other.exec(tables.map((table) => `ALTER TABLE away_${table} RENAME TO ${table};`).join(''));
    other.close();
    const isWorking = () => lines.filter(({ msg }) => msg.endsWith(' works again')).length;
    await until(() => isWorking() >= lines.filter(({ msg }) => msg.endsWith(' failed')).length);
    isWorkingAgain = true;
    for (const each of [id, ended])
      await until(async () => (await tasks.get(each))?.status === 'success');
    await tasks.stop();
  },
};

await kinds[kind]?.();
await sleep(50);
console.log(
  JSON.stringify({
    escaped,
    lines: lines
      .filter(({ level }) => level !== 'debug')
      .map(({ level, msg, err }) => [level, msg, /** @type {any} */ (err)?.message]),
  }),
);
process.exit();
