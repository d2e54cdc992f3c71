import { describeCancelling } from './contract/cancelling.js';
import { describeCommanding } from './contract/commanding.js';
import { describeDeclaring } from './contract/declaring.js';
import { describeEnqueueing } from './contract/enqueueing.js';
import { describeFailing } from './contract/failing.js';
import { describeIsolating } from './contract/isolating.js';
import { describeKeys } from './contract/keys.js';
import { describeLogging } from './contract/logging.js';
import { describeOutliving } from './contract/outliving.js';
import { describeReading } from './contract/reading.js';
import { describeRunning } from './contract/running.js';
import { describeScheduling } from './contract/scheduling.js';
import { describeStopping } from './contract/stopping.js';
import { describeTiming } from './contract/timing.js';
import type { EngineUnderTest, Suite, Tasks, TestRunner } from './suite.js';
import { waitFor } from './wait.js';

/**
 * Declares the tests that every engine must pass. For authors of engines.
 *
 * @param name The name of the engine in the titles of the tests.
 * @param make Makes a new store and its engine; called before each test.
 * @param runner The functions of the test runner, such as those of Jest or Vitest.
 * @example
 * ```ts
 * import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
 * import { describeEngine } from 'koa-taskflow/testing';
 *
 * describeEngine('my', () => {
 *   const engine = myEngine();
 *   return {
 *     manager: (options) => new TaskManager({ ...options, engine }),
 *     cleanUp: () => engine.drop(),
 *   };
 * }, { describe, it, beforeEach, afterEach, expect });
 * ```
 */
export function describeEngine(
  name: string,
  make: () => EngineUnderTest,
  runner: TestRunner,
): void {
  const { describe, beforeEach, afterEach } = runner;

  describe(`the ${name} engine`, () => {
    let under: EngineUnderTest;
    const managers: Tasks[] = [];
    const suite: Suite = {
      runner,
      manager(options = {}) {
        const made = under.manager({ logger: false, ...options });
        managers.push(made);
        return made;
      },
      ended: (tasks, id, status) =>
        waitFor(async () => {
          const task = await tasks.get(id);
          return task?.status === status && task;
        }),
    };

    beforeEach(() => {
      under = make();
    });
    afterEach(async () => {
      await Promise.all(managers.splice(0).map((each) => each.stop({ timeout: 0.1 })));
      await under.cleanUp();
    });

    describe('when running tasks', () => describeRunning(suite));
    describe('with logs and progress', () => describeLogging(suite));
    describe('when retrying tasks', () => describeFailing(suite));
    describe('with timeouts and deadlines', () => describeTiming(suite));
    describe('when cancelling tasks', () => describeCancelling(suite));
    describe('when commanding many tasks', () => describeCommanding(suite));
    describe('when enqueueing tasks', () => describeEnqueueing(suite));
    describe('with idempotency keys', () => describeKeys(suite));
    describe('with AsyncLocalStorage contexts', () => describeIsolating(suite));
    describe('with handlers that outlive their attempt', () => describeOutliving(suite));
    describe('with schedules', () => describeScheduling(suite));
    describe('when reading tasks', () => describeReading(suite));
    describe('when stopping', () => describeStopping(suite));
    describe('according to its promises', () => describeDeclaring(suite));
  });
}
