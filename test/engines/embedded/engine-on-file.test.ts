import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { TaskManager } from '../../../src/manager.js';
import { describeEngine } from '../../../src/testing/index.js';
import { temporaryFolder } from '../../helpers/folder.js';

describeEngine(
  'embedded (on file)',
  () => {
    const folder = temporaryFolder();
    return {
      manager: (options) => new TaskManager({ ...options, database: folder.file('tasks.db') }),
      cleanUp: folder.remove,
    };
  },
  { describe, it, beforeEach, afterEach, expect },
);
