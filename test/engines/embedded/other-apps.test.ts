import { mkdirSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { TaskManager } from '../../../src/manager.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { recordingLogger } from '../../helpers/logs.js';

describe('a manager that starts on a file of another running process', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let managers: TaskManager[];
  const [, main = ''] = process.argv;
  beforeEach(() => {
    folder = temporaryFolder();
    managers = [];
  });
  afterEach(async () => {
    process.argv[1] = main;
    await Promise.all(managers.map((manager) => manager.stop({ timeout: 0.1 })));
    folder.remove();
  });
  /** Starts a process of an app, and returns how often it warned. */
  const start = async (app: string, names: readonly string[], run = true): Promise<number> => {
    mkdirSync(folder.file(app), { recursive: true });
    for (const file of ['package.json', 'main.js'])
      writeFileSync(folder.file(`${app}/${file}`), '');
    process.argv[1] = folder.file(`${app}/main.js`);
    const log = recordingLogger();
    const manager = new TaskManager({ database: folder.file('tasks.db'), logger: log.logger });
    managers.push(manager);
    for (const name of names) manager.define(name);
    await manager.start({ run });
    await manager.describe();
    return log.lines.filter(({ msg }) => /another app/.test(String(msg))).length;
  };

  it('warns once if that process belongs to another app', async () => {
    expect(await start('shop', ['ship'])).toBe(0);
    expect(await start('blog', ['publish'])).toBe(1);
  });

  it.each<[string, string, string[]]>([
    ['has the same package', 'shop', ['bill']],
    ['has a task of the same name', 'worker', ['ship', 'bill']],
    ['defines no task', 'dashboard', []],
  ])('does not warn if one of the two %s', async (_case, app, names) => {
    expect(await start('shop', ['ship'])).toBe(0);
    expect(await start(app, names, false)).toBe(0);
  });
});
