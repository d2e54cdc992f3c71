import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { TaskManager } from '../../../src/manager.js';
import type { EmbeddedManagerOptions } from '../../../src/manager-options.js';
import type { TaskDetail } from '../../../src/tasks/types.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { quickest } from '../../helpers/quickest.js';
import { waitFor } from '../../helpers/wait.js';

describe('the embedded engine', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let managers: TaskManager[];
  const open = (options: EmbeddedManagerOptions = {}): TaskManager => {
    const made = new TaskManager({
      database: folder.file('tasks.db'),
      logger: false,
      pollInterval: 0.02,
      ...options,
    });
    managers.push(made);
    return made;
  };
  beforeEach(() => {
    folder = temporaryFolder();
    managers = [];
  });
  afterEach(async () => {
    await Promise.all(managers.map((each) => each.stop({ timeout: 0.1 })));
    folder.remove();
  });

  it('can be stopped at any moment of its start, without leaving a timer', async () => {
    for (let milliseconds = 0; milliseconds < 40; milliseconds += 2) {
      const tasks = open();
      tasks.task('note', () => 1);
      const started = tasks.start().catch((error: unknown) => error);
      await new Promise((resolve) => setTimeout(resolve, milliseconds));
      await tasks.stop({ timeout: 1 });
      await started;
    }
    // A remaining timer would throw an uncaught error.
    await new Promise((resolve) => setTimeout(resolve, 100));
  });

  it('opens a file in six managers at once, even if the file is new', async () => {
    const many = Array.from({ length: 6 }, () => open());
    await Promise.all(many.map((each) => each.start({ run: false })));
    expect(
      (await Promise.all(many.map((each) => each.find({ limit: 1 })))).map(({ total }) => total),
    ).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it('keeps all data of tasks in every state across a restart', async () => {
    const first = open();
    const good = first.task('good', (word: string) => ({ word }), {
      tags: { tenant: '7' },
      priority: 3,
      queue: 'bulk',
    });
    const bad = first.task(
      'bad',
      () => {
        throw new RangeError('no');
      },
      { retries: 1 },
    );
    await first.start();
    const once = good.with({ idempotencyKey: 'k' });
    const ids = [
      await once.enqueue('x'),
      await bad.enqueue(),
      await good.with({ runIn: 3600 }).enqueue('later'),
      await good.with({ runIn: 3600 }).enqueue('never'),
    ];
    await first.control({ action: 'cancel', ids: [ids[3] ?? ''] }, { actor: 'test' });
    await waitFor(
      async () =>
        (await first.find({ limit: 1, status: ['success', 'failed', 'cancelled'] })).total === 3,
    );
    const details = (manager: TaskManager): Promise<(TaskDetail | undefined)[]> =>
      Promise.all(ids.map((id) => manager.get(id)));
    const before = await details(first);
    await first.stop();
    const second = open();
    expect(await details(second)).toEqual(before);
    expect(before.map((task) => task?.status)).toEqual([
      'success',
      'failed',
      'pending',
      'cancelled',
    ]);
    expect(
      await second.define<[word: string]>('good').with({ idempotencyKey: 'k' }).enqueue('x'),
    ).toBe(ids[0]);
  });

  it('loses no pending task if processes are replaced one after another', async () => {
    const [one, two] = [open(), open()];
    const ids = [
      ...(await one.define<[n: number]>('work').enqueueMany([[1], [2]])),
      ...(await two.define<[n: number]>('work').enqueueMany([[3], [4]])),
    ];
    await Promise.all([one.start({ run: false }), two.start({ run: false })]);
    await one.stop();
    const three = open();
    await three.start({ run: false });
    await two.stop();
    three.define<[n: number]>('work').handle((n) => n);
    const four = open();
    four.task('work', (n: number) => n);
    await three.stop();
    await four.start();
    await waitFor(async () => (await four.find({ limit: 1, status: ['success'] })).total === 4);
    expect(new Set((await four.find({ limit: 10 })).items.map(({ id }) => id))).toEqual(
      new Set(ids),
    );
  });

  it('does not restore tasks that were deleted while other processes were running', async () => {
    const [one, two] = [open(), open()];
    const work = one.task('work', () => 1);
    await Promise.all([one.start(), two.start({ run: false })]);
    const id = await work.enqueue();
    await waitFor(async () => (await two.get(id))?.status === 'success');
    const cancelled = await work.with({ runIn: 60 }).enqueue();
    await two.control({ action: 'cancel', ids: [cancelled] }, { actor: 'test' });
    const { results } = await two.control(
      { action: 'delete', ids: [id, cancelled] },
      { actor: 'test' },
    );
    expect(results.map(({ ok }) => ok)).toEqual([true, true]);
    await work.enqueue();
    await one.stop();
    await two.stop();
    const three = open();
    expect([
      await three.get(id),
      await three.get(cancelled),
      (await three.find({ limit: 10 })).total,
    ]).toEqual([undefined, undefined, 1]);
  });

  it('starts as fast with 20,000 tasks as with none', async () => {
    const fill = open();
    await fill
      .define<[n: number]>('work')
      .enqueueMany(Array.from({ length: 20_000 }, (_, n) => [n]));
    await fill.stop();
    const took = await quickest(1500, () => open().start({ run: false }));
    expect(took).toBeLessThan(1500);
    expect((await open().find({ limit: 1 })).totalRelation).toBe('gte');
  });
});
