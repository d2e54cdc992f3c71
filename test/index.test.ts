import { describe, expect, it } from '@jest/globals';
import * as auth from '../src/auth/index.js';
import * as all from '../src/index.js';
import { startProcess } from './helpers/process.js';

const authNames = [
  'StrategyRegistry',
  'cached',
  'createAuth',
  'loginRoutes',
  'memoryStore',
  'multiUser',
  'requireAuth',
  'secretFile',
  'sessionOf',
  'sessionToken',
  'staticUser',
];

describe('the package', () => {
  it('exports exactly the documented names', () => {
    expect(Object.keys(auth).sort()).toEqual([...authNames].sort());
    expect(Object.keys(all).sort()).toEqual(
      [
        ...authNames,
        'TaskManager',
        'TaskflowError',
        'backgroundTasks',
        'backgroundTasksOf',
        'dashboardRoutes',
        'emitterEvents',
        'errorCodes',
        'sseStream',
        'taskAdmin',
        'taskContext',
        'taskEvents',
        'taskLog',
        'taskProgress',
        'taskRoutes',
      ].sort(),
    );
  });

  it.each(['koa-taskflow', 'koa-taskflow/auth'])(
    'loads neither a database driver nor a body parser: %s',
    async (name) => {
      const program = `
      import { createRequire } from 'node:module';
      import ${JSON.stringify(name)};
      const require = createRequire(process.cwd() + '/x.js');
      const required = require(${JSON.stringify(name)});
      if (typeof required.createAuth !== 'function') throw new Error('require failed');
      const loaded = [...Object.keys(require.cache), ...process.moduleLoadList];
      if (loaded.some((path) => /@photostructure|koa-body|formidable|zod|ldapts/.test(path)))
        throw new Error('loaded too much');
    `;
      const child = startProcess(process.execPath, [
        '--disable-warning=ExperimentalWarning',
        '--input-type=module',
        '-e',
        program,
      ]);
      expect([await child.ended, child.lines]).toEqual([0, []]);
    },
  );
});
