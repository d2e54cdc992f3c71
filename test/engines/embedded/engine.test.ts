import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { TaskManager } from '../../../src/manager.js';
import { describeEngine } from '../../../src/testing/index.js';
import { describeStore } from '../../contract/store.js';
import { temporaryFolder } from '../../helpers/folder.js';

describeEngine(
  'embedded (in memory)',
  () => {
    // Each manager has its own memory. A test uses only the last manager that it made.
    return {
      manager: (options) => new TaskManager({ ...options, database: ':memory:' }),
      cleanUp: () => {},
    };
  },
  { describe, it, beforeEach, afterEach, expect },
);

describeStore('embedded', async () => {
  const folder = temporaryFolder();
  const [one, two] = [0, 1].map(
    () => new TaskManager({ database: folder.file('tasks.db'), logger: false }),
  );
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
