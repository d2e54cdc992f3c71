import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  it,
  jest,
} from '@jest/globals';
import { bullmqEngine } from '../../../src/engines/bullmq/engine.js';
import { TaskManager } from '../../../src/manager.js';
import { describeEngine } from '../../../src/testing/index.js';
import { quickTimers } from '../../helpers/clock.js';
import { RedisServer } from '../../helpers/redis.js';

let redis: RedisServer;
let stores = 0;

beforeAll(async () => {
  redis = await RedisServer.start();
});
// At this interval, a process writes the number of its running tasks.
beforeEach(() => quickTimers('setInterval', 5000));
afterEach(() => void jest.restoreAllMocks());
afterAll(() => redis.remove());

describeEngine(
  'bullmq',
  () => {
    stores += 1;
    const prefix = `contract-${stores}`;
    return {
      manager: (options) =>
        new TaskManager({
          ...options,
          engine: bullmqEngine({ connection: redis.connection, prefix, logger: false }),
        }),
      cleanUp: () => undefined,
    };
  },
  { describe, it, beforeEach, afterEach, expect },
);
