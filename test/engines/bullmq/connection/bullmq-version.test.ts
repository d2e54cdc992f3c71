import { cpSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { temporaryFolder } from '../../../helpers/folder.js';
import { startProcess } from '../../../helpers/process.js';

const root = fileURLToPath(new URL('../../../../', import.meta.url));
/** What this package imports of BullMQ by name, as version 5 has it. */
const names = [
  'Job',
  'Queue',
  'QueueEvents',
  'QueueKeys',
  'RedisConnection',
  'UnrecoverableError',
  'WaitingError',
  'Worker',
];

describe('koa-taskflow/bullmq with an older BullMQ', () => {
  it.each([
    ['5.81.5', ''],
    ['6.6.0', 'export class RedisQueueBackend {}'],
  ])(
    'cannot be imported with version %s, and names the installed and the required version',
    async (version, also) => {
      const folder = temporaryFolder();
      const modules = join(folder.path, 'node_modules');
      const own = join(modules, 'koa-taskflow');
      const old = join(modules, 'bullmq');
      for (const path of [own, old]) mkdirSync(path, { recursive: true });
      for (const name of readdirSync(join(root, 'node_modules')))
        if (name !== 'bullmq' && name !== '.bin')
          symlinkSync(join(root, 'node_modules', name), join(modules, name));
      cpSync(join(root, 'dist'), join(own, 'dist'), { recursive: true });
      cpSync(join(root, 'package.json'), join(own, 'package.json'));
      writeFileSync(
        join(old, 'package.json'),
        JSON.stringify({ name: 'bullmq', version, type: 'module', main: 'index.js' }),
      );
      const classes = names.map((name) => `export class ${name} {}`);
      writeFileSync(
        join(old, 'index.js'),
        [...classes, also, 'export const raw2NextJobData = undefined;'].join('\n'),
      );
      const script =
        "await import('koa-taskflow/bullmq')" +
        '.catch(({ code, message }) => console.log(code, message));';
      writeFileSync(join(folder.path, 'app.mjs'), script);
      const child = startProcess(process.execPath, [join(folder.path, 'app.mjs')]);
      await child.ended;
      folder.remove();
      expect(child.lines).toEqual([expect.stringMatching(/^NOT_SUPPORTED /)]);
      for (const text of [version, '6.7']) expect(child.lines[0]).toContain(text);
    },
  );
});
