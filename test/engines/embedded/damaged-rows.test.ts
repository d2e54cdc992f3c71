import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { TaskManager } from '../../../src/manager.js';
import { openBeside } from '../../helpers/beside.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { recordingLogger } from '../../helpers/logs.js';
import { waitFor } from '../../helpers/wait.js';

describe('a task with a damaged row', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let log: ReturnType<typeof recordingLogger>;
  let tasks: TaskManager;
  let ran: string[];
  let ids: string[];
  beforeEach(async () => {
    folder = temporaryFolder();
    log = recordingLogger();
    ran = [];
    tasks = new TaskManager({
      database: folder.file('tasks.db'),
      logger: log.logger,
      concurrency: 2,
    });
    const work = tasks
      .task('work', (name: string) => void ran.push(name))
      .with({ tags: { kind: 'test' } });
    // One claim takes both tasks, and the damaged one comes first.
    ids = [await work.enqueue('damaged'), await work.enqueue('intact')];
    const file = await openBeside(folder.file('tasks.db'));
    file.run(`UPDATE task SET tags = '{"kind"' WHERE rowid = (SELECT min(rowid) FROM task)`);
    file.close();
  });
  afterEach(async () => {
    await tasks.stop({ timeout: 0.1 });
    folder.remove();
  });
  const logged = (message: string): unknown[] => log.lines.filter(({ msg }) => msg === message);

  it('is logged with its id and does not start, and the other claimed tasks run', async () => {
    await tasks.start();
    await waitFor(async () => (await tasks.get(ids[1] ?? ''))?.status === 'success');
    expect(ran).toEqual(['intact']);
    expect(logged('a task could not be started')).toMatchObject([
      { level: 50, taskId: ids[0], task: 'work' },
    ]);
  });

  it('is logged and not reported to listeners, which still get the other tasks', async () => {
    const started: string[] = [];
    tasks.on('running', ({ id }) => void started.push(id));
    await tasks.start();
    await waitFor(() => ran.length > 0 && started.length > 0);
    expect(started).toEqual([ids[1]]);
    expect(logged('a transition of a task could not be reported')).toMatchObject([
      { level: 50, rowid: 1 },
    ]);
  });
});
