import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { bullmqEngine } from '../src/engines/bullmq/index.js';
import { TaskManager } from '../src/manager.js';
import type { CommandBy } from '../src/tasks/commands.js';
import type { Task } from '../src/tasks/definition.js';
import type { TaskEngine } from '../src/tasks/engine.js';
import type { Command, TaskSource } from '../src/tasks/source.js';
import { testEngine } from '../src/testing/index.js';

const by = { actor: 'ada' };
const unknown = '01900000-0000-7000-8000-000000000000';
const huge = 'x'.repeat(1_000_000);
const throwing = {
  get action(): string {
    throw new Error('read');
  },
};
const revoked = (): object => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
};
/** An object with the members of a command, all of them inherited. */
const inherited = Object.create({ action: 'cancel', filter: 'all' }) as object;
const polluting = JSON.parse('{"__proto__": {"filter": "all"}, "action": "cancel"}') as object;
const invalid = expect.objectContaining({ code: 'INVALID_INPUT' });

describe('a TaskManager', () => {
  let tasks: TaskManager;
  let work: Task<[n: number]>;
  let ids: string[];

  /** Returns all tasks and queues. */
  const state = async (): Promise<unknown> => ({
    items: (await tasks.find({ limit: 500 })).items,
    paused: (await tasks.describe()).queues,
  });

  beforeEach(async () => {
    tasks = new TaskManager({ engine: testEngine({ inline: false }), logger: false });
    work = tasks.task('work', (n: number) => n);
    await tasks.start();
    ids = [
      ...(await work.enqueueMany([[1], [2], [3]])),
      await work.with({ runIn: 3600, tags: { tenant: '7' } }).enqueue(4),
    ];
  });
  afterEach(() => tasks.stop());

  const command = (value: unknown, who: unknown = by) => [value, who] as const;
  it.each([
    { id: 'a', count: 4096, fits: true },
    { id: 'a', count: 4097, fits: false },
    { id: '😀', count: 1024, fits: true },
    { id: '😀', count: 1025, fits: false },
  ])('measures an id in bytes: $count times $id', async ({ id, count, fits }) => {
    const long = id.repeat(count);
    for (const call of [
      () => tasks.get(long),
      () => tasks.logs(long),
      () => tasks.control({ action: 'cancel', ids: [long] }, by),
    ]) {
      const error = await call().then(
        () => undefined,
        (thrown: Error) => thrown.message,
      );
      if (fits) expect(error).toBeUndefined();
      else expect(error).toMatch(/must be the id of a task: a string of 1 to 4,096 bytes$/);
    }
  });

  const refusedCommands: [name: string, call: readonly [command: unknown, by: unknown]][] = [
    ['nothing', command(undefined)],
    ['null', command(null)],
    ['a string', command('cancel')],
    ['a list', command([{ action: 'cancel', filter: 'all' }])],
    ['no members', command({})],
    ['a Map', command(new Map([['action', 'cancel']]))],
    ['inherited members', command(inherited)],
    ['a member called __proto__', command(polluting)],
    ['a getter that throws', command(throwing)],
    ['a proxy that was revoked', command(revoked())],
    ['no target', command({ action: 'cancel' })],
    ['an unknown action', command({ action: 'explode', ids: [] })],
    ['an action of the prototype', command({ action: 'toString', filter: 'all' })],
    ['id instead of ids', command({ action: 'cancel', id: unknown })],
    ['ids that are undefined', command({ action: 'cancel', ids: undefined })],
    [
      'ids that are undefined beside a filter',
      command({ action: 'cancel', ids: undefined, filter: 'all' }),
    ],
    ['ids that are null', command({ action: 'run', ids: null })],
    ['an id outside a list', command({ action: 'cancel', ids: unknown })],
    ['an id that is a number', command({ action: 'cancel', ids: [7] })],
    ['an empty id', command({ action: 'cancel', ids: [''] })],
    ['an id of a million characters', command({ action: 'cancel', ids: [huge] })],
    ['a list of ids with a hole', command({ action: 'cancel', ids: Array(1) })],
    ['a billion ids', command({ action: 'cancel', ids: Array(1e9) })],
    ['ids and a filter', command({ action: 'cancel', ids: [unknown], filter: 'all' })],
    ['a filter that is undefined', command({ action: 'delete', filter: undefined })],
    ['a filter that is null', command({ action: 'delete', filter: null })],
    ['a filter with a word other than all', command({ action: 'delete', filter: 'everything' })],
    ['an empty filter', command({ action: 'cancel', filter: {} })],
    ['a filter that is a list', command({ action: 'cancel', filter: [] })],
    ['a filter that is a Map', command({ action: 'cancel', filter: new Map([['name', 'work']]) })],
    ['a misspelt condition', command({ action: 'cancel', filter: { nmae: 'other' } })],
    ['a condition of an older version', command({ action: 'cancel', filter: { text: 'other' } })],
    ['a condition that is undefined', command({ action: 'cancel', filter: { name: undefined } })],
    [
      'one of two conditions that is undefined',
      command({ action: 'cancel', filter: { status: ['pending'], name: undefined } }),
    ],
    ['a condition that is null', command({ action: 'cancel', filter: { name: null } })],
    ['an empty condition', command({ action: 'cancel', filter: { name: '' } })],
    ['a condition that is a Date', command({ action: 'cancel', filter: { name: new Date() } })],
    ['no states', command({ action: 'cancel', filter: { status: [] } })],
    ['an unknown state outside a list', command({ action: 'cancel', filter: { status: 'done' } })],
    ['an empty state', command({ action: 'cancel', filter: { status: '' } })],
    ['an unknown state', command({ action: 'cancel', filter: { status: ['done'] } })],
    ['no tags', command({ action: 'cancel', filter: { tag: [] } })],
    ['an empty tag', command({ action: 'cancel', filter: { tag: '' } })],
    ['a time in milliseconds', command({ action: 'cancel', filter: { from: 0 } })],
    ['an invalid time', command({ action: 'cancel', filter: { to: 'soon' } })],
    ['an invalid Date', command({ action: 'cancel', filter: { to: new Date('soon') } })],
    [
      'a search with too many words',
      command({ action: 'cancel', filter: { q: 'work '.repeat(21) } }),
    ],
    ['a search of a million characters', command({ action: 'cancel', filter: { q: huge } })],
    ['a condition beside the filter', command({ action: 'cancel', name: 'other', filter: 'all' })],
    ['a sort in the filter', command({ action: 'cancel', filter: { sort: 'name' } })],
    ['spread of another action', command({ action: 'cancel', filter: 'all', spread: 5 })],
    ['spread of NaN', command({ action: 'retry', filter: 'all', spread: Number.NaN })],
    ['spread of a year', command({ action: 'retry', filter: 'all', spread: 31_536_000 })],
    ['spread that is undefined', command({ action: 'retry', filter: 'all', spread: undefined })],
    ['rerun by filter', command({ action: 'rerun', filter: 'all' })],
    ['args as text', command({ action: 'rerun', ids: [unknown], args: '[1]' })],
    ['args that are undefined', command({ action: 'rerun', ids: [unknown], args: undefined })],
    [
      'args that JSON would change',
      command({ action: 'rerun', ids: [unknown], args: [new Date()] }),
    ],
    ['a pause of nothing', command({ action: 'pause' })],
    [
      'a pause of a queue and a schedule',
      command({ action: 'pause', queue: 'default', schedule: 'x' }),
    ],
    ['a pause of tasks', command({ action: 'pause', filter: 'all' })],
    ['a pause of an empty name', command({ action: 'pause', queue: '' })],
    ['a pause of a name with a NUL', command({ action: 'pause', queue: 'default\0x' })],
    ['a condition with a NUL', command({ action: 'cancel', filter: { name: 'work\0x' } })],
    ['an actor with a NUL', command({ action: 'cancel', filter: 'all' }, { actor: 'ada\0x' })],
    ['a pause of undefined', command({ action: 'pause', queue: undefined })],
    ['a pause of two queues', command({ action: 'pause', queue: ['a', 'b'] })],
    ['a queue that is run', command({ action: 'run', queue: 'default' })],
    ['a schedule and ids', command({ action: 'run', schedule: 'x', ids: [unknown] })],
    ['no actor at all', [{ action: 'cancel', filter: 'all' }, undefined]],
    ['an actor that is a string', command({ action: 'cancel', filter: 'all' }, 'ada')],
    ['an actor without a name', command({ action: 'cancel', filter: 'all' }, {})],
    ['an empty actor', command({ action: 'cancel', filter: 'all' }, { actor: '' })],
    ['an actor that is a number', command({ action: 'cancel', filter: 'all' }, { actor: 7 })],
    [
      'an actor of a million characters',
      command({ action: 'cancel', filter: 'all' }, { actor: huge }),
    ],
    [
      'a misspelt dryRun',
      command({ action: 'cancel', filter: 'all' }, { actor: 'ada', dryrun: true }),
    ],
    [
      'a dryRun that is undefined',
      command({ action: 'cancel', filter: 'all' }, { actor: 'ada', dryRun: undefined }),
    ],
    [
      'a dryRun that is a word',
      command({ action: 'cancel', filter: 'all' }, { actor: 'ada', dryRun: 'yes' }),
    ],
    [
      'an expect that is undefined',
      command({ action: 'cancel', filter: 'all' }, { actor: 'ada', expect: undefined }),
    ],
    ['an expect of -1', command({ action: 'cancel', filter: 'all' }, { actor: 'ada', expect: -1 })],
    [
      'an expect that is a string',
      command({ action: 'cancel', filter: 'all' }, { actor: 'ada', expect: '4' }),
    ],
    [
      'a reason of 501 characters',
      command({ action: 'cancel', filter: 'all' }, { actor: 'ada', reason: 'x'.repeat(501) }),
    ],
    [
      'a dry run of a pause',
      command({ action: 'pause', queue: 'default' }, { actor: 'ada', dryRun: true }),
    ],
    [
      'a dry run of a rerun',
      command({ action: 'rerun', ids: [unknown] }, { actor: 'ada', dryRun: true }),
    ],
    [
      'an expect of a pause',
      command({ action: 'pause', queue: 'default' }, { actor: 'ada', expect: 1 }),
    ],
  ];

  it.each(refusedCommands)(
    'rejects a command with %s and changes no task',
    async (_name, [value, who]) => {
      const before = await state();
      await expect(tasks.control(value as Command, who as CommandBy)).rejects.toThrow(invalid);
      expect(await state()).toEqual(before);
    },
  );

  it('names the wrong member of a command, its value and what is accepted', async () => {
    const message = async (value: unknown, who: unknown = by): Promise<unknown> =>
      tasks
        .control(value as Command, who as CommandBy)
        .catch((error: Error) => [error.name, error.message]);
    expect(await message({ action: 'cancel', id: 'x' })).toEqual([
      'TypeError',
      'command has an unknown key "id". Did you mean "ids"? Allowed: action, ids, filter',
    ]);
    expect(await message({ action: 'retry', ids: [], spread: -1 })).toEqual([
      'RangeError',
      'command.spread is -1; it must be a number of seconds from 0 to 86,400',
    ]);
    expect(await message({ action: 'pause' })).toEqual([
      'TypeError',
      "command 'pause' has no target; it must have exactly one of: queue, schedule",
    ]);
    expect(await message({ action: 'cancel', ids: [] }, { actor: '' })).toEqual([
      'RangeError',
      'by.actor is ""; it must be a string of 1 to 256 characters',
    ]);
  });

  it.each<[string, unknown, unknown, number[]]>([
    ['ids', (all: string[]) => ({ action: 'cancel', ids: [all[1], all[1]] }), by, [1]],
    ['no ids', () => ({ action: 'cancel', ids: [] }), by, []],
    ['a condition', () => ({ action: 'cancel', filter: { tag: ['tenant:7'] } }), by, [3]],
    ['a single tag', () => ({ action: 'cancel', filter: { tag: 'tenant:7' } }), by, [3]],
    [
      'a single state',
      () => ({ action: 'cancel', filter: { status: 'pending' } }),
      by,
      [0, 1, 2, 3],
    ],
    [
      'a Date',
      () => ({ action: 'cancel', filter: { from: new Date(0), to: new Date(1) } }),
      by,
      [],
    ],
    ['a relative time', () => ({ action: 'cancel', filter: { from: '-1h' } }), by, [0, 1, 2, 3]],
    ['all', () => ({ action: 'cancel', filter: 'all' }), by, [0, 1, 2, 3]],
    [
      'a reason that is undefined',
      () => ({ action: 'cancel', filter: 'all' }),
      { actor: 'ada', reason: undefined },
      [0, 1, 2, 3],
    ],
    ['a dry run', () => ({ action: 'cancel', filter: 'all' }), { actor: 'ada', dryRun: true }, []],
    [
      'the expected number',
      () => ({ action: 'cancel', filter: 'all' }),
      { actor: 'ada', expect: 4 },
      [0, 1, 2, 3],
    ],
  ])('applies a command with %s to the right tasks only', async (_name, make, who, touched) => {
    await tasks.control((make as (all: string[]) => Command)(ids), who as CommandBy);
    const cancelled = (await tasks.find({ status: ['cancelled'] })).items.map(({ id }) =>
      ids.indexOf(id),
    );
    expect(cancelled.sort()).toEqual(touched);
  });

  it('changes no task for any object that is not a command', async () => {
    const before = await state();
    const value = fc.oneof(
      fc.constantFrom<unknown>(
        undefined,
        null,
        '',
        'all',
        'cancel',
        'work',
        0,
        1,
        true,
        {},
        [],
        [''],
      ),
      fc.anything({ withNullPrototype: true }),
    );
    const key = fc.constantFrom(
      'ids',
      'id',
      'filter',
      'filters',
      'name',
      'status',
      'where',
      'queue',
      'spread',
      'args',
      'all',
      '__proto__',
    );
    const wild = fc
      .tuple(
        fc.constantFrom('cancel', 'delete', 'retry', 'run', 'rerun', 'stop'),
        fc.dictionary(key, value, { maxKeys: 4 }),
      )
      .filter(([, members]) => !isTarget(members))
      .map(([action, members]) => ({ action, ...members }));
    await fc.assert(
      fc.asyncProperty(wild, async (value) => {
        const outcome = await tasks.control(value as never, by).catch((error: unknown) => error);
        expect(outcome).toMatchObject({ code: 'INVALID_INPUT' });
      }),
      { numRuns: 500 },
    );
    expect(await state()).toEqual(before);
  });

  /**
   * Returns whether members form a valid command: exactly one target, and only members that the
   * action accepts.
   */
  function isTarget({
    ids: list,
    filter,
    spread,
    args,
    ...others
  }: Record<string, unknown>): boolean {
    if (Object.keys(others).length > 0) return false;
    if (filter === 'all') return list === undefined;
    if (typeof filter === 'object' && filter !== null)
      return ['q', 'to', 'tag', 'from', 'name'].some((key) => Object.hasOwn(filter, key));
    return (
      Array.isArray(list) &&
      list.every((id) => typeof id === 'string' && id !== '') &&
      [spread, args].length > 0
    );
  }

  /** Calls aggregate with any arguments, as JavaScript can. */
  const aggregateOf = (from: TaskSource, ...all: unknown[]): unknown =>
    (from as unknown as { aggregate(...all: unknown[]): unknown }).aggregate(...all);

  const refusedReads: [name: string, call: (from: TaskSource) => unknown][] = [
    ...(
      [
        ['null', null],
        ['a string', 'failed'],
        ['a list', ['failed']],
        ['a Map', new Map([['name', 'work']])],
        ['a proxy that was revoked', revoked()],
        ['an unknown key', { nmae: 'work' }],
        ['a key of an older version', { text: 'work' }],
        ['a limit of 0', { limit: 0 }],
        ['a limit of -1', { limit: -1 }],
        ['a fractional limit', { limit: 1.5 }],
        ['a limit of NaN', { limit: Number.NaN }],
        ['an infinite limit', { limit: Number.POSITIVE_INFINITY }],
        ['a limit of a billion', { limit: 1e9 }],
        ['a limit as text', { limit: '2' }],
        ['an unknown sort', { sort: 'bogus' }],
        ['a sort of the prototype', { sort: 'constructor' }],
        ['a state that is a number', { status: 1 }],
        ['an unknown state outside a list', { status: 'done' }],
        ['an unknown state', { status: ['done'] }],
        ['no states', { status: [] }],
        ['a time in milliseconds', { from: Date.now() }],
        ['a time without a zone', { from: '2026-11-03T14:00:00' }],
        ['an invalid time', { to: 'soon' }],
        ['an empty name', { name: '' }],
        ['a name of a million characters', { name: huge }],
        ['a search of a million characters', { q: huge }],
        ['a tag that is an object', { tag: [{ key: 'tenant' }] }],
        ['counted as a word', { counted: 'no' }],
        ['a billion tags', { tag: Array(1e9) }],
      ] as const
    ).map(([name, query]): [string, (from: TaskSource) => unknown] => [
      `find with ${name}`,
      (from) => from.find(query as never),
    ]),
    ['get without an id', (from) => from.get(undefined as never)],
    ['get with null', (from) => from.get(null as never)],
    ['get with a number', (from) => from.get(1 as never)],
    ['get with an empty id', (from) => from.get('')],
    ['get with a list', (from) => from.get([unknown] as never)],
    ['get with an id of a million characters', (from) => from.get(huge)],
    ['get with an unknown option', (from) => from.get(unknown, { logLines: 5 } as never)],
    ['get with -1 log lines', (from) => from.get(unknown, { logs: -1 })],
    ['get with a billion log lines', (from) => from.get(unknown, { logs: 1e9 })],
    ['logs without an id', (from) => from.logs(undefined as never)],
    ['logs with an unknown key', (from) => from.logs(unknown, { text: 'x' } as never)],
    ['logs with an unknown level', (from) => from.logs(unknown, { level: 'fatal' as never })],
    ['logs with after and before', (from) => from.logs(unknown, { after: 1, before: 9 })],
    ['logs with a limit of a billion', (from) => from.logs(unknown, { limit: 1e9 })],
    ['logs after NaN', (from) => from.logs(unknown, { after: Number.NaN })],
    ['an unknown aggregate', (from) => aggregateOf(from, 'sums')],
    ['an aggregate of the prototype', (from) => aggregateOf(from, 'constructor')],
    ['an aggregate of undefined', (from) => aggregateOf(from, undefined)],
    ['metrics with an unknown key', (from) => from.aggregate('metrics', { since: '-1h' } as never)],
    ['metrics from milliseconds', (from) => from.aggregate('metrics', { from: 0 as never })],
    [
      'metrics of a range that ends before it begins',
      (from) => from.aggregate('metrics', { from: '-1h', to: '-2h' }),
    ],
    ['metrics of a step of a second', (from) => from.aggregate('metrics', { step: 1 })],
    [
      'metrics of more points than 1,500',
      (from) => from.aggregate('metrics', { from: '-30d', step: 60 }),
    ],
    ['failures with an unknown key', (from) => from.aggregate('failures', { after: 'x' } as never)],
    ['failures with a limit of a billion', (from) => from.aggregate('failures', { limit: 1e9 })],
    ['a snapshot with a query', (from) => aggregateOf(from, 'statsSnapshot', { from: '-1h' })],
    [
      'watch after undefined',
      (from) => from.watch(undefined as never, new AbortController().signal),
    ],
    ['watch after -1', (from) => from.watch(-1, new AbortController().signal)],
    ['watch after NaN', (from) => from.watch(Number.NaN, new AbortController().signal)],
    ['watch without a signal', (from) => from.watch(0, undefined as never)],
  ];

  /** Returns the error that a call throws or rejects with. */
  const thrownBy = async (call: () => unknown): Promise<unknown> => {
    try {
      await call();
      return undefined;
    } catch (error) {
      return error;
    }
  };

  it.each(refusedReads)('rejects %s', async (_name, call) => {
    expect(await thrownBy(() => call(tasks))).toEqual(invalid);
  });

  it('lists 50 tasks by default and treats undefined members as absent', async () => {
    await work.enqueueMany(Array.from({ length: 60 }, (_, n): [number] => [n]));
    for (const query of [undefined, {}, { name: undefined, limit: undefined, from: undefined }])
      expect((await tasks.find(query)).items).toHaveLength(50);
    expect((await tasks.find({ limit: 500 })).items).toHaveLength(64);
  });

  it('accepts a single state or tag like a list of one, with the same cursors', async () => {
    expect((await tasks.find({ status: 'failed' })).items).toEqual([]);
    expect((await tasks.find({ tag: 'tenant:7' })).items.map(({ id }) => id)).toEqual([ids[3]]);
    const { nextCursor } = await tasks.find({ status: 'pending', limit: 3 });
    const rest = await tasks.find({ status: ['pending'], limit: 3, cursor: nextCursor ?? '' });
    expect(rest.items.map(({ id }) => id)).toEqual([ids[0]]);
  });

  it('accepts times in the formats of the HTTP API and as Dates', async () => {
    const total = async (query: Parameters<TaskManager['find']>[0]): Promise<number> =>
      (await tasks.find(query)).total;
    const later = new Date(Date.now() + 3_600_000);
    expect(await total({ from: '-1h' })).toBe(4);
    expect(await total({ from: new Date(0), to: later })).toBe(4);
    expect(await total({ from: later })).toBe(0);
    expect(await total({ to: '2020-01-01' })).toBe(0);
    expect(await total({ to: later.toISOString(), tag: ['tenant'] })).toBe(1);
  });

  it('rejects the cursor of another list and accepts it with another limit', async () => {
    const { nextCursor } = await tasks.find({ limit: 2, name: 'work' });
    const cursor = nextCursor ?? '';
    expect(
      (await tasks.find({ limit: 1, name: 'work', cursor })).items.map(({ id }) => id),
    ).toEqual([ids[1]]);
    for (const query of [
      { cursor },
      { name: 'work', sort: 'name' as const, cursor },
      { name: 'work', cursor: 'x' },
    ])
      await expect(tasks.find(query)).rejects.toThrow(
        expect.objectContaining({ code: 'INVALID_CURSOR' }),
      );
  });

  it.each<[string, (manager: TaskManager, task: Task<[n: number]>) => unknown]>([
    ['enqueue of nothing', (manager) => manager.enqueue(undefined as never)],
    [
      'enqueue of a task outside a list',
      (manager, task) => manager.enqueue(task.prepare(1) as never),
    ],
    [
      'enqueue of an object',
      (manager) => manager.enqueue([{ id: unknown, name: 'work' } as never]),
    ],
    ['enqueue of null', (manager) => manager.enqueue([null as never])],
    ['enqueue of a hole', (manager) => manager.enqueue(Array(3))],
    ['enqueue of a billion holes', (manager) => manager.enqueue(Array(1e9))],
    [
      'enqueue of a changed copy',
      (manager, task) => manager.enqueue([{ ...task.prepare(1), runAt: 0 }]),
    ],
    ['enqueue of a proxy', (manager, task) => manager.enqueue([new Proxy(task.prepare(1), {})])],
    [
      'enqueue of a task of another manager',
      async (manager) => {
        const other = new TaskManager({ engine: testEngine(), logger: false });
        await manager.enqueue([other.define('work').prepare()]);
      },
    ],
    ['enqueueMany of nothing', (_manager, task) => task.enqueueMany(undefined as never)],
    ['enqueueMany of a number', (_manager, task) => task.enqueueMany(3 as never)],
    [
      'enqueueMany of arguments outside a list',
      (_manager, task) => task.enqueueMany([1, 2] as never),
    ],
    [
      'enqueueMany with a text among the lists',
      (_manager, task) => task.enqueueMany([[1], 'ab' as never]),
    ],
    ['enqueueMany with a hole', (_manager, task) => task.enqueueMany(Array(2))],
    [
      'enqueueMany with an argument that JSON would change',
      (_manager, task) => task.enqueueMany([[1], [new Date() as never]]),
    ],
    ['an argument that JSON would change', (_manager, task) => task.enqueue(Number.NaN)],
    ['a proxy as an argument', (_manager, task) => task.enqueue(new Proxy({}, {}) as never)],
    ['an argument over the limit', (_manager, task) => task.enqueue('x'.repeat(2 ** 21) as never)],
    ['with null', (_manager, task) => task.with(null as never)],
    ['with a list', (_manager, task) => task.with([] as never)],
    ['with an unknown option', (_manager, task) => task.with({ delay: 5 } as never)],
    ['with runIn of NaN', (_manager, task) => task.with({ runIn: Number.NaN })],
    ['with runIn of a billion', (_manager, task) => task.with({ runIn: 1e9 })],
    [
      'with an idempotency key that contains a NUL',
      (_manager, task) => task.with({ idempotencyKey: 'acme\0order 7' }),
    ],
    [
      'with an idempotency key that contains half of a surrogate pair',
      (_manager, task) => task.with({ idempotencyKey: '\ud800' }),
    ],
    ['with an empty queue', (_manager, task) => task.with({ queue: '' })],
    ['backup to nothing', (manager) => manager.backup(undefined as never)],
    ['backup to null', (manager) => manager.backup(null as never)],
    ['backup to an empty path', (manager) => manager.backup('')],
    ['backup to a path of a million characters', (manager) => manager.backup(huge)],
    ['on of an unknown state', (manager) => manager.on('done' as never, () => {})],
    ['on of undefined', (manager) => manager.on(undefined as never, () => {})],
    ['on without a listener', (manager) => manager.on('success', undefined as never)],
    ['on with an object', (manager) => manager.on('success', {} as never)],
    ['off of an unknown state', (manager) => manager.off('constructor' as never, () => {})],
    ['off without a listener', (manager) => manager.off('success', null as never)],
    ['start with an unknown option', (manager) => manager.start({ runs: false } as never)],
    ['start with a word', (manager) => manager.start({ run: 'no' as never })],
    ['start with false', (manager) => manager.start(false as never)],
    ['stop with a number', (manager) => manager.stop(5 as never)],
    ['stop with a timeout of -1', (manager) => manager.stop({ timeout: -1 })],
    ['stop with a timeout of NaN', (manager) => manager.stop({ timeout: Number.NaN })],
    ['task without a name', (manager) => manager.task(undefined as never, () => {})],
    ['task with an empty name', (manager) => manager.task('', () => {})],
    ['task of a million characters', (manager) => manager.task(huge, () => {})],
    ['task without a handler', (manager) => manager.task('other', undefined as never)],
    ['define with null as options', (manager) => manager.define('other', null as never)],
    ['define with a handler as options', (manager) => manager.define('other', (() => {}) as never)],
    [
      'define with a handler after the options',
      (manager) => manager.define('other', {}, (() => {}) as never),
    ],
    ['handle with an object', (manager) => manager.define('other').handle({} as never)],
    [
      'schedule without a task',
      (manager) => manager.schedule('s', undefined as never, { every: 5 }),
    ],
    ['schedule of null', (manager) => manager.schedule('s', null as never, { every: 5 })],
    [
      'schedule with args that are not a list',
      (manager, task) => manager.schedule('s', task, { every: 5, args: 7 as never }),
    ],
    [
      'schedule with an empty name',
      (manager, task) => manager.schedule('', task, { every: 5, args: [1] }),
    ],
  ])('rejects %s and stores nothing', async (_name, call) => {
    const before = await state();
    expect(await thrownBy(() => call(tasks, work))).toEqual(invalid);
    expect(await state()).toEqual(before);
  });

  it('stores a prepared task, which cannot be changed', async () => {
    const prepared = work.prepare(5);
    expect(() => Object.assign(prepared, { runAt: 0 })).toThrow(TypeError);
    expect(() => Object.assign(prepared.tags, { tenant: '8' })).toThrow(TypeError);
    expect(await tasks.enqueue([prepared])).toEqual([prepared.id]);
    expect(await tasks.get(prepared.id)).toMatchObject({ args: [5], tags: {} });
    expect(await tasks.enqueue([])).toEqual([]);
    expect(await work.enqueueMany([])).toEqual([]);
  });

  it('returns undefined for any unknown id', async () => {
    for (const id of [unknown, 'x', '../..', 'mail:7', '__proto__']) {
      expect(await tasks.get(id)).toBeUndefined();
      expect(await tasks.logs(id)).toEqual([]);
    }
  });
});

describe('an engine with a manager', () => {
  it.each<[string, () => TaskEngine]>([
    ['bullmqEngine', () => bullmqEngine({ connection: 'redis://127.0.0.1:1', logger: false })],
    ['testEngine', () => testEngine()],
  ])('is rejected for another manager, even after a stop: %s', async (_name, make) => {
    const engine = make();
    expect(() => new TaskManager({ engine, concurrency: 0 })).toThrow(invalid);
    const tasks = new TaskManager({ engine, logger: false });
    expect(() => new TaskManager({ engine, logger: false })).toThrow(invalid);
    await tasks.stop();
    expect(() => new TaskManager({ engine, logger: false })).toThrow(invalid);
  });
});

describe('an engine that is called directly', () => {
  it.each<[string, object]>([
    ['no target', { action: 'cancel' }],
    ['id instead of ids', { action: 'cancel', id: unknown }],
    ['a misspelt condition', { action: 'cancel', filter: { nmae: 'x' } }],
    ['both targets', { action: 'cancel', ids: [unknown], filter: {} }],
    ['text instead of ids', { action: 'cancel', ids: unknown }],
  ])('rejects a command with %s', async (_name, command) => {
    const engine = testEngine({ inline: false });
    const tasks = new TaskManager({ engine, logger: false });
    const id = await tasks.define('work').enqueue();
    await expect(engine.control(command as never, by)).rejects.toThrow(invalid);
    expect((await tasks.get(id))?.status).toBe('pending');
    await tasks.stop();
  });
});
