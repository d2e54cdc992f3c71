import { afterAll, afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { describeEngine } from '../../../src/testing/index.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { EngineProcess } from '../../helpers/remote-engine.js';
import { threeManagers } from '../../helpers/three-managers.js';

/** The other two processes. */
const processes = [new EngineProcess(), new EngineProcess()] as const;
afterAll(async () => {
  await Promise.all(processes.map((each) => each.end()));
});

describeEngine(
  'embedded (three processes on one file: one enqueues, one runs, one commands)',
  () => {
    const folder = temporaryFolder();
    return {
      manager: (options) =>
        threeManagers(
          { ...options, database: folder.file('tasks.db'), pollInterval: 0.02 },
          processes,
        ),
      cleanUp: folder.remove,
    };
  },
  { describe, it, beforeEach, afterEach, expect },
);
