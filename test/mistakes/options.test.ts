import { runInNewContext } from 'node:vm';
import { afterAll, describe, expect, it } from '@jest/globals';
import { createClient } from '../../src/client/client.js';
import { attachQueues, bullmqEngine, redisStore } from '../../src/engines/bullmq/index.js';
import {
  createAuth,
  dashboardRoutes,
  loginRoutes,
  memoryStore,
  requireAuth,
  StrategyRegistry,
  sessionToken,
  sseStream,
  staticUser,
  TaskManager,
  taskAdmin,
  taskRoutes,
} from '../../src/index.js';
import { testEngine } from '../../src/testing/index.js';
import {
  closeManagers,
  errorOf,
  login,
  manager,
  namesOf,
  noop,
  secretKey,
  send,
} from '../helpers/mistakes.js';

afterAll(closeManagers);

const connection = { host: '127.0.0.1' };
/** A login without passwords, because hashing them for each call would take minutes. */
const strategies = { authenticate_user: () => false };
const admin = { auth: strategies, secretKey, logger: false } as const;
const given = <T>(value: unknown): T => value as T;

/** Adds options to required ones without reading them. Returns any other value unchanged. */
function over<T>(required: T, options: unknown): T {
  if (options?.constructor !== Object) return options as T;
  return Object.defineProperties({ ...required }, Object.getOwnPropertyDescriptors(options));
}

/** Returns an object as of a class compiled to ES5: it inherits a method and `constructor`. */
function compiledToEs5(members: object): object {
  return Object.assign(Object.create({ load: noop, constructor: noop }), members);
}

/** Each function that takes options, and each option that has options itself. */
const factories: Readonly<Record<string, (options: never) => unknown>> = {
  TaskManager: (options: object) =>
    new TaskManager(over({ database: ':memory:', logger: false }, options)),
  'TaskManager limits': (limits) => manager({ limits }),
  'TaskManager stats': (stats) => manager({ stats }),
  task: (options) => send(options),
  with: (options) => manager().task('a', noop).with(options),
  schedule: (options) => manager().schedule('a', noop, options),
  createAuth: (options: object) =>
    createAuth(over({ strategies, secretKey, logger: false }, options)),
  'createAuth cookie': (cookie) => login({ strategies, cookie }),
  'createAuth throttle': (throttle) => login({ strategies, throttle }),
  taskAdmin: (options: object) => taskAdmin(manager(), over(admin, options)),
  'taskAdmin streams': (streams) => taskAdmin(manager(), { ...admin, streams }),
  taskRoutes: (options) => taskRoutes(manager(), options),
  dashboardRoutes: (options) => dashboardRoutes(manager(), options),
  sseStream: (options) =>
    sseStream(
      given(() => []),
      options,
    ),
  requireAuth: (options) => requireAuth('401', options),
  staticUser: (options) => staticUser('admin', 'correct horse battery', options),
  StrategyRegistry: (options) => new StrategyRegistry(options),
  memoryStore: (options) => memoryStore(options),
  testEngine: (options) => testEngine(options),
  bullmqEngine: (options: object) => bullmqEngine(over({ connection }, options)),
  redisStore: (options) => redisStore(connection, options),
  attachQueues: (options) => attachQueues([], options),
};

describe.each(Object.entries(factories))('the options of %s', (_name, call) => {
  const names = namesOf(call);

  it('are listed by the error for an unknown option', () => {
    expect(names).not.toEqual([]);
  });

  it('appear in no error message with a password', () => {
    for (const secret of ['redis://:hunter2@h/0', 'https://ada:hunter2@h/?a', 'ada:hunter2@h'])
      for (const value of [secret, [secret], { nope: secret }, { [secret]: 1 }])
        for (const name of names)
          expect(errorOf(() => call({ [name]: value } as never))?.message ?? '').not.toContain(
            'hunter2',
          );
    expect(errorOf(() => call('hunter2' as never))?.message ?? '').not.toContain('hunter2');
  });

  it('are refused with the name of an option that throws when it is read', () => {
    for (const name of names) {
      const options = {
        get [name]() {
          throw new Error('no value');
        },
      };
      expect(errorOf(() => call(options as never))).toMatchObject({
        code: 'INVALID_INPUT',
        message: expect.stringMatching(`^reading the option ${name} of .* threw an error$`),
      });
    }
  });

  it.each([
    ['a Map', new Map()],
    ['a promise', Promise.resolve({})],
    ['a Date', new Date()],
    ['a list', []],
    ['a number', 5],
  ])('are refused if they are %s', (_kind, value) => {
    expect(errorOf(() => call(value as never))).toMatchObject({ code: 'INVALID_INPUT' });
  });
});

describe('an argument that may be a password', () => {
  it.each<[string, () => unknown]>([
    ['sessionToken', () => sessionToken(given('hunter2'))],
    ['loginRoutes', () => loginRoutes(given('hunter2'))],
    ['createAuth', () => createAuth(given('hunter2'))],
    ['the store', () => login({ store: 'hunter2' })],
    ['the logger', () => login({ logger: 'hunter2' })],
    ['the engine', () => manager({ engine: 'hunter2' })],
    ['the address of a client', () => createClient('https://ada:hunter2@h/')],
    ['the database', () => manager({ database: `redis://${'u'.repeat(90)}:hunter2@h` })],
    ['taskAdmin', () => taskAdmin(given('hunter2'))],
  ])('is in no error message: %s', (_name, call) => {
    const error = errorOf(call);
    expect(error?.message).toBeDefined();
    expect(error?.message).not.toContain('hunter2');
  });
});

describe('the options of an object', () => {
  it('may be inherited from defaults or from a class', () => {
    for (const retries of ['x', -1])
      for (const options of [
        Object.create({ retries }),
        Object.create(Object.assign(Object.create(null), { retries })),
        runInNewContext('Object.create({ retries })', { retries }),
        new (class {
          get retries() {
            return retries;
          }
          help() {
            return 'a method is no option';
          }
        })(),
        Object.defineProperty({}, 'retries', { value: retries }),
      ])
        expect(errorOf(() => send(options))?.message).toMatch(/^retries of task 'send' is/);
  });

  it('may be inherited from a module', async () => {
    const url: string = 'data:text/javascript,export const retries = -1';
    const defaults: object = await import(url);
    for (const options of [defaults, Object.create(defaults)])
      expect(errorOf(() => send(options))?.message).toMatch(/^retries of task 'send' is -1/);
  });

  it('may be functions that are inherited', () => {
    expect(errorOf(() => send(Object.create({ backoff: async () => 1 })))?.message).toMatch(
      /^backoff of task 'send' is an async function/,
    );
  });

  it('may have methods and symbols beside them', () => {
    for (const options of [compiledToEs5({ retries: 2 }), { retries: 2, [Symbol('x')]: 3 }])
      expect(errorOf(() => send(options))).toBeUndefined();
  });

  it('are refused if an unknown one is set or inherited', () => {
    for (const options of [
      { retrys: 3 },
      { retrys: noop },
      Object.create({ retrys: 3 }),
      Object.create(Object.assign(Object.create(null), { retrys: 3 })),
    ])
      expect(errorOf(() => send(options))?.message).toMatch(/has no option .*retrys/);
  });

  it('do not come from a polluted Object.prototype', () => {
    const otherRealm = 'Object.prototype.retries = "x"; ({})';
    expect(errorOf(() => send(runInNewContext(otherRealm)))).toBeUndefined();
    const polluted = Object.prototype as { retries?: unknown };
    polluted.retries = 'x';
    try {
      expect(errorOf(() => send({}))).toBeUndefined();
    } finally {
      delete polluted.retries;
    }
  });

  it('are read once', () => {
    let reads = 0;
    const options = {
      get timeout() {
        reads += 1;
        return 5;
      },
    };
    send(options);
    expect(reads).toBe(1);
  });
});

describe('the message about an option', () => {
  const message = (options: object): string | undefined => errorOf(() => send(options))?.message;

  it.each<[string, () => string | undefined, RegExp]>([
    ['a bigint', () => message({ retries: 3n }), /is a bigint;/],
    ['a symbol', () => message({ retries: Symbol('x') }), /is a symbol;/],
    [
      'a value that is shortened at an emoji',
      () => message({ queue: `${'q'.repeat(78)}${'😀'.repeat(100)}` }),
      /q😀…"; /,
    ],
    ['a value that is shortened', () => message({ queue: 'q'.repeat(200) }), /q…"; .*has 200$/],
    [
      'a large number',
      () => message({ priority: 9e9 }),
      /is 9,000,000,000; .* from -1,000,000 to 1,000,000$/,
    ],
    ['a small number', () => message({ timeout: -1e-30 }), /is -1e-30;/],
    ['a number of many digits', () => message({ timeout: 1e300 }), /is 1e\+300;/],
    ['infinity', () => message({ timeout: Number.NEGATIVE_INFINITY }), /is -Infinity;/],
    ['an empty array', () => message([]), /the options of task 'send' are an empty array; they/],
    ['ten years', () => message({ timeout: 0 }), /315,360,000 \(ten years\)$/],
    [
      'an option that is no object',
      () => errorOf(() => manager({ stats: 5 }))?.message,
      /^stats is 5; it must be an object with any of: minuteDays/,
    ],
    [
      'an idempotency key',
      () => errorOf(() => manager().task('a', noop).with({ idempotencyKey: '' }))?.message,
      /^idempotencyKey of task 'a' is/,
    ],
    [
      'an idempotency window',
      () => errorOf(() => manager().task('a', noop).with({ idempotencyWindow: 5 }))?.message,
      /^idempotencyWindow of task 'a' needs/,
    ],
    [
      'a gap in a list',
      () => errorOf(() => login({ trustedOrigins: Array(1) }))?.message,
      /^trustedOrigins\[0\] is undefined;/,
    ],
    [
      'NaN in a list',
      () => errorOf(() => login({ trustedOrigins: ['https://a.b', Number.NaN] }))?.message,
      /^trustedOrigins\[1\] is NaN;/,
    ],
  ])('is clear: %s', (_what, found, expected) => {
    expect(found()).toMatch(expected);
  });

  it.each([
    ['a Map', new Map([['tenant', '7']])],
    ['a promise', Promise.resolve()],
    ['a Date', new Date()],
  ])('refuses tags that are %s', (_kind, tags) => {
    expect(message({ tags })).toMatch(/^tags of task 'send' is a/);
  });

  it('checks inherited tags', () => {
    const bare = Object.assign(Object.create(null), { tenant: 7 });
    for (const defaults of [{ tenant: 7 }, bare])
      expect(message({ tags: Object.create(defaults) })).toMatch(/^tags\.tenant of task/);
    expect(message({ tags: { tenant: noop } })).toMatch(/^tags\.tenant of task 'send' is a func/);
  });

  it('ignores methods and symbols beside tags', () => {
    for (const tags of [compiledToEs5({ tenant: '7' }), { tenant: '7', [Symbol('a')]: 'x' }])
      expect(message({ tags })).toBeUndefined();
  });

  it('refuses a logger without one of the four methods', () => {
    const { debug, info, warn } = console;
    expect(errorOf(() => login({ logger: { debug, info, warn } }))?.message).toMatch(
      /^logger is an object; it must be a pino logger, .*debug, info, warn and error/,
    );
    expect(errorOf(() => login({ logger: console }))).toBeUndefined();
  });
});
