import { execFileSync } from 'node:child_process';
import { chmodSync, readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { openDatabase } from '../../src/engines/tables/schema/database.js';
import { TaskManager } from '../../src/manager.js';
import { temporaryFolder } from '../helpers/folder.js';
import { type Child, startProcess } from '../helpers/process.js';
import { sleep, waitFor } from '../helpers/wait.js';

const isId = (line: string): boolean => /^[0-9a-f]{8}-/.test(line);

describe('a disk that fails', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let database: string;
  let child: Child | undefined;
  beforeEach(() => {
    folder = temporaryFolder();
    database = folder.file('tasks.db');
    child = undefined;
  });
  afterEach(async () => {
    child?.process.kill('SIGKILL');
    await child?.ended;
    folder.remove();
  });

  it('that is full makes an enqueue fail with the reason; nothing is lost, and it goes on by itself when there is room', async () => {
    // A limit of one megabyte a file stands for the disk: the kernel refuses to write on.
    const full = startProcess('/bin/sh', [
      '-c',
      `ulimit -S -f 2000; exec ${process.execPath} test/helpers/scripts/full-disk.js ${database}`,
    ]);
    child = full;
    const failure = await waitFor(() => full.lines.find((line) => line.startsWith('failed')));
    expect(failure).toMatch(
      /^failed ENGINE_UNAVAILABLE the task database could not be written: the disk (failed|is full)/,
    );
    await sleep(0.5);
    expect(full.lines).not.toContain('recovered');
    execFileSync('prlimit', ['--pid', String(full.process.pid), '--fsize=unlimited:unlimited']);
    await waitFor(() => full.lines.includes('recovered'));
    expect(await full.ended).toBe(0);
    const tasks = new TaskManager({ database, logger: false });
    const states = await Promise.all(
      full.lines.filter(isId).map(async (id) => (await tasks.get(id))?.status),
    );
    expect(states.length).toBeGreaterThan(5);
    expect(new Set(states)).toEqual(new Set(['success']));
    await tasks.stop();
  });

  it('that may only be read is named at the start, and left as it is', async () => {
    const made = new TaskManager({ database, logger: false });
    await made.define<[text: string]>('note').enqueue('x');
    await made.stop();
    for (const path of [database, folder.path]) chmodSync(path, path === database ? 0o444 : 0o555);
    const before = readFileSync(database);
    const program = `
      import { TaskManager } from 'koa-taskflow';
      // The superuser may write anything.
      if (process.getuid() === 0) { process.setgid(65534); process.setuid(65534); }
      const tasks = new TaskManager({ database: ${JSON.stringify(database)}, logger: false });
      await tasks.start().catch((error) => console.log(error.code, error.message));
    `;
    child = startProcess(process.execPath, ['--input-type=module', '-e', program]);
    expect(await child.ended).toBe(0);
    expect(child.lines.join('\n')).toMatch(
      /^ENGINE_UNAVAILABLE the task database '.*' cannot be used: .*(readonly|unable to open|read-only)/,
    );
    expect(readFileSync(database).equals(before)).toBe(true);
    chmodSync(folder.path, 0o755);
  });
});

describe('a database that another program has locked', () => {
  it('is waited for: five seconds later everything is stored, and the event loop has not stood still', async () => {
    const folder = temporaryFolder();
    const tasks = new TaskManager({ database: folder.file('tasks.db'), logger: false });
    const noop = tasks.task('noop', () => 1);
    await tasks.start();
    await noop.enqueue();
    const other = await openDatabase(folder.file('tasks.db'));
    other.exec('BEGIN IMMEDIATE');
    const enqueued = Promise.all(Array.from({ length: 20 }, () => noop.enqueue()));
    let [longest, last] = [0, performance.now()];
    const ticking = setInterval(() => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    });
    await sleep(5);
    expect((await tasks.find({ limit: 1 })).total).toBe(1);
    other.exec('COMMIT');
    other.close();
    const ids = await enqueued;
    clearInterval(ticking);
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.success === 21);
    expect(new Set(ids).size).toBe(20);
    // A lock that holds the event loop does so for all of the five seconds.
    expect(longest).toBeLessThan(4000);
    await tasks.stop();
    folder.remove();
  });
});
