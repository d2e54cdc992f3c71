import { afterEach, describe, expect, it } from '@jest/globals';
import { claimedTask } from '../../../../src/engines/tables/schema/claimed-task.js';
import { type Database, openDatabase } from '../../../../src/engines/tables/schema/database.js';
import { layOut } from '../../../../src/engines/tables/schema/layout.js';
import type { Write } from '../../../../src/engines/tables/write/batch.js';
import { packTasks } from '../../../../src/engines/tables/write/packed-tasks.js';
import { Writer } from '../../../../src/engines/tables/write/writer.js';
import type { NewTask } from '../../../../src/tasks/new-task.js';
import { taskIds } from '../../../../src/tasks/task-id.js';

const many = 10_000;
const now = 1_800_000_000_000;
const tomorrow = now + 86_400_000;

interface Work {
  statements: number;
  rows: number;
  /** Microseconds of processor time. */
  time: number;
}

/** A database in memory that counts the statements and rows of a claim. */
class Bench {
  readonly work = { statements: 0, rows: 0 };
  readonly newId = taskIds(() => now);
  readonly database: Database;
  readonly writer: Writer;
  /** The names that the process runs. */
  names: [string, number | undefined][] = [['mine', undefined]];

  constructor(inner: Database) {
    const counted = <T>(result: T): T => {
      this.work.statements += 1;
      this.work.rows += Array.isArray(result) ? result.length : 1;
      return result;
    };
    this.database = {
      ...inner,
      run: (sql, ...values) => counted(inner.run(sql, ...values)),
      get: (sql, ...values) => counted(inner.get(sql, ...values)),
      all: (sql, ...values) => counted(inner.all(sql, ...values)),
    };
    layOut(this.database, ':memory:');
    this.writer = new Writer(this.database);
  }

  task(task: Partial<NewTask>): NewTask {
    const rest = {
      args: '[]',
      queue: 'default',
      priority: 0,
      tags: {},
      source: 'manual',
      createdAt: now,
      runAt: now,
      attempts: 1,
    } as const;
    return { id: this.newId(), name: 'mine', interrupts: 0, ...rest, ...task };
  }

  write(...writes: Write[]): void {
    const { outcomes } = this.writer.apply({ writes, claim: undefined, at: now, wanted: [] });
    expect(outcomes.filter((outcome) => outcome && !outcome.ok)).toEqual([]);
  }

  enqueue(tasks: Partial<NewTask>[]): void {
    this.write({ kind: 'enqueue', tasks: packTasks(tasks.map((task) => this.task(task))) });
  }

  /** Claims tasks and returns their names. */
  claim(limit: number, at = now): { rowid: number; name: string; attempt: number }[] {
    const { claimed } = this.writer.apply({
      writes: [],
      claim: { owner: 'o', names: this.names, limit, at },
      at,
      wanted: [],
    });
    return claimed.map(claimedTask.unpack);
  }

  finish(tasks: readonly { rowid: number; attempt: number }[]): void {
    this.write(
      ...tasks.map(
        ({ rowid, attempt }): Write => ({
          kind: 'finish',
          rowid,
          attempt,
          owner: 'o',
          at: now,
          result: { status: 'success' },
        }),
      ),
    );
  }

  /** Measures the claim of the first task, as the median of several rounds. */
  measure(): Work {
    const rounds = Array.from({ length: 7 }, () => this.#round());
    const median = (key: keyof Work): number =>
      rounds.map((round) => round[key]).sort((a, b) => a - b)[3] ?? 0;
    return { statements: median('statements'), rows: median('rows'), time: median('time') };
  }

  #round(): Work {
    const times = 20;
    const total: Work = { statements: 0, rows: 0, time: 0 };
    for (let n = 0; n < times; n++) {
      this.enqueue([{ queue: 'fresh', priority: 100 }]);
      const before = { ...this.work };
      const { user, system } = process.cpuUsage();
      const claimed = this.claim(1);
      const after = process.cpuUsage();
      total.time += after.user + after.system - user - system;
      total.statements += this.work.statements - before.statements;
      total.rows += this.work.rows - before.rows;
      expect(claimed.map(({ name }) => name)).toEqual(['mine']);
      this.finish(claimed);
    }
    return {
      statements: total.statements / times,
      rows: total.rows / times,
      time: total.time / times,
    };
  }
}

const queues = (task: Partial<NewTask>): Partial<NewTask>[] =>
  Array.from({ length: many }, (_, n) => ({ ...task, queue: `queue ${n}` }));
const names = Array.from({ length: many }, (_, n) => `name ${n}`);

/** Other tasks that a database may contain beside the claimed one. */
const kinds: [kind: string, fill: (bench: Bench) => void][] = [
  ['queues with delayed tasks only', (bench) => bench.enqueue(queues({ runAt: tomorrow }))],
  [
    'names with delayed tasks only',
    (bench) => {
      bench.names.push(
        ...names.slice(0, 100).map((name): [string, undefined] => [name, undefined]),
      );
      bench.enqueue(names.map((name) => ({ name, runAt: tomorrow })));
    },
  ],
  [
    'queues with ended tasks only',
    (bench) => {
      bench.enqueue(queues({}));
      bench.finish(bench.claim(many));
    },
  ],
  [
    'paused queues with a ready task',
    (bench) => {
      const paused = names.map(
        (queue): Write => ({ kind: 'pauseQueue', queue, paused: true, by: 'test', at: now }),
      );
      // No more queues can be paused before they have a task.
      bench.write(...paused.slice(0, 1000));
      bench.enqueue(names.map((queue) => ({ queue })));
      bench.write(...paused.slice(1000));
    },
  ],
  [
    'ready names of another process',
    (bench) => bench.enqueue(names.map((name) => ({ name: `other ${name}` }))),
  ],
  [
    'ready queues of a name at its limit',
    (bench) => {
      bench.names.push(['limited', 2]);
      bench.enqueue(queues({ name: 'limited' }));
      expect(bench.claim(10).length).toBe(2);
    },
  ],
  ['queues with a ready task', (bench) => bench.enqueue(queues({}))],
  ['delayed tasks in one queue', (bench) => bench.enqueue(names.map(() => ({ runAt: tomorrow })))],
];

describe('a claim', () => {
  const opened: Database[] = [];
  const open = async (): Promise<Bench> => {
    const bench = new Bench(await openDatabase(':memory:'));
    opened.push(bench.database);
    bench.measure();
    return bench;
  };
  afterEach(() => {
    for (const database of opened.splice(0)) database.close();
  });

  it.each(kinds)('costs no more if there are 10,000 %s', async (_kind, fill) => {
    const alone = await open();
    const beside = await open();
    fill(beside);
    const [less, more] = [alone.measure(), beside.measure()];
    expect(more.statements).toBeLessThanOrEqual(less.statements + 4);
    // The margin covers one page of the index of ready partitions.
    expect(more.rows).toBeLessThanOrEqual(less.rows + 40);
    // The usual ratio is below 1.5. A scan of 10,000 rows would exceed this limit by far.
    expect(more.time).toBeLessThan(less.time * 4 + 200);
  });
});
