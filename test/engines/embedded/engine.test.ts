import { TaskManager } from '../../../src/manager.js';
import { describeEngine } from '../../contract/engine.js';
import { describeStore } from '../../contract/store.js';
import { temporaryFolder } from '../../helpers/folder.js';

describeEngine('embedded (in memory)', () => ({ options: () => ({ database: ':memory:' }), cleanUp: () => {} }));

describeEngine('embedded (on file)', () => {
  const folder = temporaryFolder();
  let files = 0;
  return { options: () => ({ database: folder.file(`${files++}.db`) }), cleanUp: folder.remove };
});

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
