import { execFileSync } from 'node:child_process';
import { chmodSync, readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { TaskManager } from '../../src/manager.js';
import { openBeside } from '../helpers/beside.js';
import { temporaryFolder } from '../helpers/folder.js';
import { type Child, startProcess } from '../helpers/process.js';
import { sleep, waitFor } from '../helpers/wait.js';

const isId = (line: string): boolean => /^[0-9a-f]{8}-/.test(line);

describe('a disk', () => {
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

  it('that is full lets an enqueue fail with the reason, and works again with space', async () => {
    // A file size limit of one megabyte replaces a full disk. The kernel then rejects writes.
    const full = startProcess('/bin/sh', [
      '-c',
      `ulimit -S -f 2000; exec ${process.execPath} test/helpers/scripts/full-disk.js ${database}`,
    ]);
    child = full;
    const failure = await waitFor(() => full.lines.find((line) => line.startsWith('failed')));
    expect(failure).toMatch(/^failed ENGINE_UNAVAILABLE the task database could not be written/);
    expect(failure).toMatch(/: the disk (failed|is full)/);
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

  it('that is read-only is reported at the start and left unchanged', async () => {
    const made = new TaskManager({ database, logger: false });
    await made.define<[text: string]>('note').enqueue('x');
    await made.stop();
    for (const path of [database, folder.path]) chmodSync(path, path === database ? 0o444 : 0o555);
    const before = readFileSync(database);
    const program = `
      import { TaskManager } from 'koa-taskflow';
      // The superuser may write to read-only files.
      if (process.getuid() === 0) { process.setgid(65534); process.setuid(65534); }
      const tasks = new TaskManager({ database: ${JSON.stringify(database)}, logger: false });
      await tasks.start().catch((error) => console.log(error.code, error.message));
    `;
    child = startProcess(process.execPath, ['--input-type=module', '-e', program]);
    expect(await child.ended).toBe(0);
    const output = child.lines.join('\n');
    expect(output).toMatch(/^ENGINE_UNAVAILABLE the task database '.*' cannot be used: /);
    expect(output).toMatch(/ cannot be used: .*(readonly|unable to open|read-only)/);
    expect(readFileSync(database).equals(before)).toBe(true);
    chmodSync(folder.path, 0o755);
  });
});

describe('a database that is locked by another program', () => {
  it('stores all waiting tasks after the lock and does not block the event loop', async () => {
    const folder = temporaryFolder();
    const tasks = new TaskManager({ database: folder.file('tasks.db'), logger: false });
    const noop = tasks.task('noop', () => 1);
    await tasks.start();
    await noop.enqueue();
    const other = await openBeside(folder.file('tasks.db'));
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
    // If the lock blocked the event loop, the pause would last five seconds.
    expect(longest).toBeLessThan(4000);
    await tasks.stop();
    folder.remove();
  });
});
