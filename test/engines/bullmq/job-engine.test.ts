import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { JobEngine } from '../../../src/engines/bullmq/job-engine.js';
import { TaskManager } from '../../../src/manager.js';
import { loggerOption } from '../../../src/options.js';
import { describeEngine } from '../../../src/testing/index.js';
import { RedisServer } from '../../helpers/redis.js';

let redis: RedisServer;
let stores = 0;

beforeAll(async () => {
  redis = await RedisServer.start();
});
afterAll(() => redis.remove());

describeEngine(
  'job',
  () => {
    stores += 1;
    const prefix = `contract-${stores}`;
    return {
      manager: (options) =>
        new TaskManager({
          ...options,
          engine: new JobEngine({
            connection: redis.connection,
            prefix,
            logger: loggerOption('logger', options.logger ?? false),
            lockDuration: 20_000,
            kept: { age: 604_800, count: 100_000 },
            statistics: { minutes: 604_800_000, hours: 34_560_000_000 },
          }),
        }),
      cleanUp: () => undefined,
    };
  },
  { describe, it, beforeEach, afterEach, expect },
);
