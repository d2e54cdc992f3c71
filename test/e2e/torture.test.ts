import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { TaskManager } from '../../src/manager.js';
import { timeOfTaskId } from '../../src/tasks/task-id.js';
import { openBeside } from '../helpers/beside.js';
import { temporaryFolder } from '../helpers/folder.js';
import { type Child, startScript } from '../helpers/process.js';
import { expectSums } from '../helpers/sums.js';
import { sleep, waitFor } from '../helpers/wait.js';

const kills = 50;

describe('three processes that are killed repeatedly', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let tasks: TaskManager;
  let children: Child[];
  beforeEach(() => {
    folder = temporaryFolder();
    children = [];
  });
  afterEach(async () => {
    for (const child of children) child.process.kill('SIGKILL');
    await Promise.all(children.map(({ ended }) => ended));
    await tasks?.stop({ timeout: 0 });
    folder.remove();
  });

  it('lose no task, repeat none without permission, and run a schedule on time', async () => {
    const [database, starts] = [folder.file('tasks.db'), folder.file('starts')];
    const begin = (): Child => {
      const child = startScript('torture.js', database, starts);
      children.push(child);
      return child;
    };
    const living = [begin(), begin(), begin()];
    await Promise.all(living.map((child) => waitFor(() => child.lines.includes('started'))));
    for (let kill = 0; kill < kills; kill++) {
      await sleep(0.05 + Math.random() * 0.3);
      const [victim] = living.splice(Math.floor(Math.random() * living.length), 1);
      victim?.process.kill('SIGKILL');
      await victim?.ended;
      living.push(begin());
    }
    await Promise.all(living.map((child) => waitFor(() => child.lines.includes('started'))));
    for (const child of living) child.process.kill('SIGTERM');
    tasks = new TaskManager({ database, logger: false });
    const names = ['once', 'again'];
    const open = async (name: string): Promise<number> =>
      (await tasks.find({ limit: 1, name, status: ['pending', 'running'] })).total;
    await waitFor(async () => (await Promise.all(names.map(open))).every((n) => n === 0));

    const ids = children.flatMap(({ lines }) => lines.filter((line) => /^[0-9a-f]{8}-/.test(line)));
    expect(ids.length).toBeGreaterThan(kills * 3);
    const states = new Map<string, number>();
    for (const id of ids) {
      const task = await tasks.get(id);
      const state = `${task?.name} ${task?.status}`;
      states.set(state, (states.get(state) ?? 0) + 1);
    }
    // Every task with a resolved enqueue exists and has ended or is marked as interrupted.
    expect(
      [...states.keys()].filter(
        (state) => !['once success', 'once interrupted', 'again success'].includes(state),
      ),
    ).toEqual([]);
    expect(states.get('once interrupted') ?? 0).toBeGreaterThan(0);

    const begun = readFileSync(starts, 'utf8').trim().split('\n');
    const startsOfOnce = begun
      .filter((line) => line.startsWith('once '))
      .map((line) => line.split(' ')[1]);
    expect(startsOfOnce.length).toBe(new Set(startsOfOnce).size);
    // No attempt of any task started twice.
    expect(begun.length).toBe(new Set(begun).size);

    const schedule = (await tasks.describe()).schedules.find(({ name }) => name === 'ticking');
    const phase = Date.parse(schedule?.nextRunAt ?? '') % 200;
    const slots: number[] = [];
    let cursor: string | undefined;
    do {
      const page = await tasks.find({ limit: 500, schedule: 'ticking', cursor });
      slots.push(...page.items.map(({ id }) => Math.floor((timeOfTaskId(id) - phase) / 200)));
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
    expect(slots.length).toBeGreaterThan(kills / 4);
    expect(slots.length).toBe(new Set(slots).size);

    const file = await openBeside(database);
    expect(file.get('PRAGMA integrity_check')).toEqual({ integrity_check: 'ok' });
    expectSums(file);
    file.close();
  }, 180_000);
});
