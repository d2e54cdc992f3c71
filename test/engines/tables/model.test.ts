import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Reader } from '../../../src/engines/tables/read/reader.js';
import { claimedTask } from '../../../src/engines/tables/schema/claimed-task.js';
import { type Database, openDatabase } from '../../../src/engines/tables/schema/database.js';
import { layOut } from '../../../src/engines/tables/schema/layout.js';
import { idOf } from '../../../src/engines/tables/schema/rows.js';
import { toSummary } from '../../../src/engines/tables/schema/summaries.js';
import type { Write, Written } from '../../../src/engines/tables/write/batch.js';
import { packTasks } from '../../../src/engines/tables/write/packed-tasks.js';
import { Writer } from '../../../src/engines/tables/write/writer.js';
import type { NewTask } from '../../../src/tasks/new-task.js';
import { taskIds } from '../../../src/tasks/task-id.js';
import { type TaskStatus, taskStatuses } from '../../../src/tasks/types.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { expectSums } from '../../helpers/sums.js';

/** The number of runs, here and in CI. Set `MODEL_RUNS=10000` for a long run. */
const numRuns = Number(process.env.MODEL_RUNS ?? 120);
const owners = ['one', 'two', 'three'];
const names = ['a', 'b', 'c'];
const queues = ['default', 'bulk'];
/** The concurrency limits by name. No process has a handler for `c`. */
const limits = new Map<string, number | undefined>([
  ['a', undefined],
  ['b', 2],
]);

interface ModelTask {
  id: string;
  name: string;
  queue: string;
  priority: number;
  status: TaskStatus;
  runAt: number;
  /** Whether it waits for its time. A task that was once due stays due if the clock is set back. */
  waiting: boolean;
  deadlineAt: number | undefined;
  series: number;
  maxAttempts: number;
  maxInterrupts: number;
  interrupts: number;
  attempt: number;
  attempts: [number, string][];
  cancelling: boolean;
  owner: string | undefined;
  key: string | undefined;
}

/** The expected tasks, without tables, indexes and counters. */
interface Model {
  now: number;
  tasks: ModelTask[];
  paused: Set<string>;
  /** Ids of tasks by name and idempotency key. */
  keys: Map<string, string>;
}

class Real {
  readonly path: string;
  readonly newId: () => string;
  database!: Database;
  writer!: Writer;
  now = 1_800_000_000_000;

  constructor(path: string) {
    this.path = path;
    this.newId = taskIds(() => this.now);
  }

  async open(): Promise<void> {
    this.database = await openDatabase(this.path);
    layOut(this.database, this.path);
    this.database.exec('PRAGMA synchronous = OFF');
    this.writer = new Writer(this.database);
  }

  write<K extends Write['kind']>(write: Extract<Write, { kind: K }>): Written[K] {
    const { outcomes } = this.writer.apply({
      writes: [write],
      claim: undefined,
      at: this.now,
      wanted: [],
    });
    const [outcome] = outcomes;
    if (outcome && !outcome.ok) throw new Error(outcome.error.message);
    return outcome?.value as Written[K];
  }

  claim(owner: string, limit: number): { claimed: string[]; expired: string[] } {
    const claim = { owner, names: [...limits], limit, at: this.now };
    const { claimed, expired } = this.writer.apply({ writes: [], claim, at: this.now, wanted: [] });
    return {
      claimed: claimed.map((row) => idOf(claimedTask.unpack(row).id)),
      expired: expired.map((row) => toSummary(row).id),
    };
  }

  /** The row id and the fence of a running task. */
  held(id: string): { rowid: number; attempt: number } {
    const row = this.database.get("SELECT rowid, attempt FROM task WHERE id = unhex(?, '-')", id);
    return { rowid: Number(row?.rowid), attempt: Number(row?.attempt) };
  }
}

type Step = fc.AsyncCommand<Model, Real>;

const end = (_model: Model, task: ModelTask, status: TaskStatus): void => {
  if (task.status === 'running') task.attempts.push([task.attempt, status]);
  Object.assign(task, { status, cancelling: false, owner: undefined, waiting: false });
};
const toPending = (model: Model, task: ModelTask, runAt: number): void => {
  Object.assign(task, {
    status: 'pending',
    cancelling: false,
    owner: undefined,
    runAt,
    waiting: runAt > model.now,
  });
};
const pick = <T>(list: readonly T[], n: number): T | undefined =>
  list.length === 0 ? undefined : list[n % list.length];
const isEnd = (status: TaskStatus): boolean => taskStatuses.indexOf(status) > 1;

/** A step on a task in one of these states. */
function onTask(
  name: string,
  n: number,
  states: readonly TaskStatus[],
  act: (task: ModelTask, model: Model, real: Real) => void,
): Step {
  const find = (model: Readonly<Model>) =>
    pick(
      model.tasks.filter(({ status }) => states.includes(status)),
      n,
    );
  return {
    check: (model) => find(model) !== undefined,
    run: async (model, real) => {
      const task = find(model);
      if (task) act(task, model, real);
      compare(model, real);
    },
    toString: () => `${name}(${n})`,
  };
}

function step(name: string, run: (model: Model, real: Real) => void | Promise<void>): Step {
  return {
    check: () => true,
    run: async (model, real) => {
      await run(model, real);
      compare(model, real);
    },
    toString: () => name,
  };
}

/** Expects everything that can be read to match the model. */
function compare(model: Model, real: Real): void {
  const reader = new Reader(real.database);
  const { items, total } = reader.find({ limit: 500 });
  expect(total).toBe(model.tasks.length);
  const expected = [...model.tasks].sort((a, b) => (a.id < b.id ? 1 : -1));
  expect(
    items.map(({ id, name, queue, status, attempt, maxAttempts, engineState }) => [
      id,
      name,
      queue,
      status,
      attempt,
      maxAttempts,
      engineState,
    ]),
  ).toEqual(
    expected.map(({ id, name, queue, status, attempt, maxAttempts, cancelling }) => [
      id,
      name,
      queue,
      status,
      attempt,
      maxAttempts,
      cancelling ? 'cancelling' : undefined,
    ]),
  );
  for (const status of taskStatuses) {
    const ids = expected.filter((task) => task.status === status).map(({ id }) => id);
    const page = reader.find({ limit: 500, status: [status] });
    expect([status, page.total, ...page.items.map(({ id }) => id)]).toEqual([
      status,
      ids.length,
      ...ids,
    ]);
  }
  for (const { id, attempts, status, attempt } of model.tasks) {
    const shown = reader.get(id)?.attempts.map((each) => [each.number, each.status]);
    expect([id, shown]).toEqual([
      id,
      status === 'running' ? [...attempts, [attempt, 'running']] : attempts,
    ]);
  }
}

const enqueue = (
  name: string,
  queue: string,
  priority: number,
  runIn: number,
  rest: Pick<NewTask, 'attempts' | 'interrupts'> & {
    deadline: number | undefined;
    key: string | undefined;
  },
): Step =>
  step(
    `enqueue(${[name, queue, priority, runIn, JSON.stringify(rest)].join(', ')})`,
    (model, real) => {
      const { attempts, interrupts, deadline, key } = rest;
      const id = real.newId();
      const runAt = real.now + runIn;
      const deadlineAt = deadline === undefined ? undefined : runAt + deadline;
      const idempotency = key === undefined ? undefined : { key, until: real.now + 1e12 };
      const task: NewTask = {
        id,
        name,
        args: '[]',
        queue,
        priority,
        tags: priority === 0 ? {} : { queue, priority: String(priority) },
        source: 'manual',
        createdAt: real.now,
        runAt,
        attempts,
        interrupts,
        deadlineAt,
        idempotency,
      };
      const duplicates = real.write<'enqueue'>({ kind: 'enqueue', tasks: packTasks([task]) });
      const taken = key === undefined ? undefined : model.keys.get(`${name} ${key}`);
      expect(duplicates?.[0] ?? id).toBe(taken ?? id);
      if (taken !== undefined) return;
      if (key !== undefined) model.keys.set(`${name} ${key}`, id);
      model.tasks.push({
        id,
        name,
        queue,
        priority,
        status: 'pending',
        runAt,
        waiting: runIn > 0,
        deadlineAt,
        series: attempts,
        maxAttempts: attempts,
        maxInterrupts: interrupts,
        interrupts: 0,
        attempt: 0,
        attempts: [],
        cancelling: false,
        owner: undefined,
        key,
      });
    },
  );

const claim = (owner: string, limit: number): Step =>
  step(`claim(${owner}, ${limit})`, (model, real) => {
    for (const task of model.tasks)
      if (task.waiting && task.runAt <= model.now) task.waiting = false;
    const claimed: string[] = [];
    const expired: string[] = [];
    for (let late = true; late; ) {
      late = false;
      const room = new Map<string, number>();
      for (const [name, most] of limits)
        room.set(
          name,
          (most ?? 99) -
            model.tasks.filter((task) => task.name === name && task.status === 'running').length,
        );
      const ready = model.tasks
        .filter(
          ({ name, queue, status, waiting }) =>
            limits.has(name) && status === 'pending' && !waiting && !model.paused.has(queue),
        )
        .sort((a, b) => b.priority - a.priority || (a.id < b.id ? -1 : 1))
        .filter(({ name }) => {
          const left = room.get(name) ?? 0;
          room.set(name, left - 1);
          return left > 0;
        })
        .slice(0, limit - claimed.length);
      for (const task of ready) {
        if (task.deadlineAt !== undefined && task.deadlineAt <= model.now) {
          end(model, task, 'failed');
          expired.push(task.id);
          late = true;
        } else {
          Object.assign(task, { status: 'running', owner, attempt: task.attempt + 1 });
          claimed.push(task.id);
        }
      }
    }
    expect(real.claim(owner, limit)).toEqual({ claimed, expired });
  });

const finish = (
  n: number,
  outcome: 'success' | 'failed' | 'again',
  wait: number,
  stranger: boolean,
): Step =>
  onTask(
    `finish ${outcome} ${stranger ? 'by a stranger ' : ''}`,
    n,
    ['running'],
    (task, model, real) => {
      const error = { name: 'Error', message: 'no', stack: null, fingerprint: 'f' };
      const result =
        outcome === 'success'
          ? { status: 'success' as const }
          : {
              status: 'failed' as const,
              error,
              retryIn: outcome === 'again' ? wait / 1000 : undefined,
            };
      const owner = stranger ? 'nobody' : (task.owner ?? '');
      real.write<'finish'>({ kind: 'finish', ...real.held(task.id), owner, at: real.now, result });
      if (stranger) return;
      if (task.cancelling) end(model, task, 'cancelled');
      else if (outcome === 'success') end(model, task, 'success');
      else if (outcome === 'failed') end(model, task, 'failed');
      else {
        task.attempts.push([task.attempt, 'failed']);
        toPending(model, task, model.now + wait);
      }
    },
  );

const conflictOr = (
  _model: Model,
  task: ModelTask,
  allowed: boolean,
  ok: boolean | undefined,
): boolean => {
  expect([task.id, ok]).toEqual([task.id, allowed]);
  return allowed;
};

const retry = (n: number): Step =>
  onTask('retry', n, taskStatuses, (task, model, real) => {
    const holder =
      task.key === undefined ? task.id : (model.keys.get(`${task.name} ${task.key}`) ?? task.id);
    const allowed = isEnd(task.status) && task.status !== 'success' && holder === task.id;
    const results = real.write<'retry'>({ kind: 'retry', ids: [task.id], at: real.now });
    if (!conflictOr(model, task, allowed, results[0]?.ok)) return;
    if (task.deadlineAt !== undefined) task.deadlineAt += model.now - task.runAt;
    if (task.key !== undefined) model.keys.set(`${task.name} ${task.key}`, task.id);
    Object.assign(task, { interrupts: 0, maxAttempts: task.attempt + task.series });
    toPending(model, task, model.now);
  });

const cancel = (n: number): Step =>
  onTask('cancel', n, taskStatuses, (task, model, real) => {
    const results = real.write<'cancel'>({ kind: 'cancel', ids: [task.id], at: real.now });
    if (!conflictOr(model, task, !isEnd(task.status), results[0]?.ok)) return;
    if (task.key !== undefined && model.keys.get(`${task.name} ${task.key}`) === task.id)
      model.keys.delete(`${task.name} ${task.key}`);
    if (task.status === 'running') task.cancelling = true;
    else end(model, task, 'cancelled');
  });

const rerun = (n: number): Step =>
  onTask('rerun', n, taskStatuses, (task, model, real) => {
    const id = real.newId();
    const results = real.write<'rerun'>({
      kind: 'rerun',
      ids: [task.id],
      newIds: [id],
      args: undefined,
      at: real.now,
    });
    if (!conflictOr(model, task, isEnd(task.status), results[0]?.ok)) return;
    const deadlineAt =
      task.deadlineAt === undefined ? undefined : model.now + task.deadlineAt - task.runAt;
    const fresh = {
      attempt: 0,
      attempts: [],
      interrupts: 0,
      maxAttempts: task.series,
      owner: undefined,
      cancelling: false,
      key: undefined,
    };
    model.tasks.push({
      ...task,
      ...fresh,
      id,
      status: 'pending',
      runAt: model.now,
      waiting: false,
      deadlineAt,
    });
  });

const remove = (n: number): Step =>
  onTask('delete', n, taskStatuses, (task, model, real) => {
    const results = real.write<'delete'>({ kind: 'delete', ids: [task.id], at: real.now });
    if (!conflictOr(model, task, isEnd(task.status), results[0]?.ok)) return;
    model.tasks = model.tasks.filter((each) => each !== task);
  });

const runNow = (n: number): Step =>
  onTask('run', n, taskStatuses, (task, model, real) => {
    const results = real.write<'run'>({ kind: 'run', ids: [task.id], at: real.now });
    if (!conflictOr(model, task, task.status === 'pending', results[0]?.ok)) return;
    Object.assign(task, { runAt: Math.min(task.runAt, model.now), waiting: false });
  });

const abandon = (n: number): Step =>
  onTask('abandon', n, ['running'], (task, model, real) => {
    if (!task.cancelling) return;
    real.write<'abandon'>({
      kind: 'abandon',
      ...real.held(task.id),
      owner: task.owner ?? '',
      at: real.now,
    });
    end(model, task, 'cancelled');
  });

/** A process has died: its tasks are ended or handed back. */
const crash = (owner: string): Step =>
  step(`crash(${owner})`, (model, real) => {
    real.write<'recover'>({ kind: 'recover', owner, at: real.now });
    for (const task of model.tasks) {
      if (task.owner !== owner) continue;
      if (task.cancelling) end(model, task, 'cancelled');
      else if (
        task.interrupts >= task.maxInterrupts ||
        (task.deadlineAt !== undefined && task.deadlineAt <= model.now)
      )
        end(model, task, 'interrupted');
      else {
        task.attempts.push([task.attempt, 'interrupted']);
        task.interrupts += 1;
        task.maxAttempts += 1;
        toPending(model, task, model.now);
      }
    }
  });

const restart = step('restart', async (_model, real) => {
  real.database.close();
  await real.open();
});

const pause = (queue: string, paused: boolean): Step =>
  step(`${paused ? 'pause' : 'resume'}(${queue})`, (model, real) => {
    real.write<'pauseQueue'>({ kind: 'pauseQueue', queue, paused, by: 'test', at: real.now });
    if (paused) model.paused.add(queue);
    else model.paused.delete(queue);
  });

/** The clock also moves backwards, because users and NTP set it. */
const turnClock = (by: number): Step =>
  step(`turnClock(${by})`, (model, real) => {
    model.now += by;
    real.now = model.now;
  });

const nat = fc.nat(20);
const steps = [
  fc
    .record({
      name: fc.constantFrom(...names),
      queue: fc.constantFrom(...queues),
      priority: fc.constantFrom(0, 0, 5, -5),
      runIn: fc.constantFrom(0, 0, 0, 500),
      attempts: fc.integer({ min: 1, max: 3 }),
      interrupts: fc.constantFrom(0, 0, 1, 2),
      deadline: fc.constantFrom(undefined, undefined, 400),
      key: fc.constantFrom(undefined, undefined, undefined, 'k1', 'k2'),
    })
    .map(({ name, queue, priority, runIn, ...rest }) =>
      enqueue(name, queue, priority, runIn, rest),
    ),
  fc
    .tuple(fc.constantFrom(...owners), fc.integer({ min: 1, max: 4 }))
    .map(([owner, limit]) => claim(owner, limit)),
  fc
    .tuple(
      nat,
      fc.constantFrom('success' as const, 'failed' as const, 'again' as const),
      fc.constantFrom(0, 300),
      fc.constantFrom(false, false, false, true),
    )
    .map(([n, outcome, wait, stranger]) => finish(n, outcome, wait, stranger)),
  nat.map(retry),
  nat.map(cancel),
  nat.map(rerun),
  nat.map(remove),
  nat.map(runNow),
  nat.map(abandon),
  fc.constantFrom(...owners).map(crash),
  fc.constant(restart),
  fc.tuple(fc.constantFrom(...queues), fc.boolean()).map(([queue, paused]) => pause(queue, paused)),
  fc.constantFrom(1, 100, 400, 1000, -200).map(turnClock),
];

describe('the database', () => {
  it(
    'matches a simple model of tasks after any sequence of operations',
    async () => {
      const folder = temporaryFolder();
      let files = 0;
      await fc.assert(
        fc.asyncProperty(fc.commands(steps, { maxCommands: 60, size: 'max' }), async (commands) => {
          const real = new Real(folder.file(`${files++}.db`));
          // The driver releases a closed file when its statements are garbage-collected.
          if (files % 20 === 0) {
            (globalThis as { gc?: () => void }).gc?.();
            await new Promise((resolve) => setImmediate(resolve));
          }
          await real.open();
          try {
            await fc.asyncModelRun(
              () => ({
                model: {
                  now: real.now,
                  tasks: [],
                  paused: new Set<string>(),
                  keys: new Map<string, string>(),
                },
                real,
              }),
              commands,
            );
            expect(real.database.get('PRAGMA integrity_check')).toEqual({ integrity_check: 'ok' });
            expectSums(real.database);
          } finally {
            real.database.close();
          }
        }),
        { numRuns },
      );
      folder.remove();
    },
    numRuns * 1000 + 60_000,
  );
});
