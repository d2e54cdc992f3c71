import { afterAll, afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { TaskManager } from '../../../src/manager.js';
import { describeEngine } from '../../../src/testing/index.js';
import { describeStore } from '../../contract/store.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { EngineProcess } from '../../helpers/remote-engine.js';
import { threeManagers } from '../../helpers/three-managers.js';

/** The other two processes. */
const processes = [new EngineProcess(), new EngineProcess()] as const;
afterAll(async () => {
  await Promise.all(processes.map((each) => each.end()));
});

const runner = { describe, it, beforeEach, afterEach, expect };

describeEngine(
  'embedded (in memory)',
  () => {
    // A second manager in a test shares what the first one keeps, which in memory only one manager can.
    return { manager: (options) => new TaskManager({ ...options, database: ':memory:' }), cleanUp: () => {} };
  },
  runner,
);

describeEngine(
  'embedded (on file)',
  () => {
    const folder = temporaryFolder();
    return { manager: (options) => new TaskManager({ ...options, database: folder.file('tasks.db') }), cleanUp: folder.remove };
  },
  runner,
);

describeEngine(
  'embedded (three processes on one file: one enqueues, one runs, one shows and commands)',
  () => {
    const folder = temporaryFolder();
    return {
      manager: (options) => threeManagers({ ...options, database: folder.file('tasks.db'), pollInterval: 0.02 }, processes),
      cleanUp: folder.remove,
    };
  },
  runner,
);

describeStore('embedded', async () => {
  const folder = temporaryFolder();
  const [one, two] = [0, 1].map(() => new TaskManager({ database: folder.file('tasks.db'), logger: false }));
  if (!one || !two) throw new Error('no managers');
  return {
    store: one.store,
    other: two.store,
    cleanUp: async () => {
      await Promise.all([one.stop(), two.stop()]);
      folder.remove();
    },
  };
});
