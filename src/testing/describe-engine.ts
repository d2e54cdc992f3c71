import { describeCancelling } from './contract/cancelling.js';
import { describeCommanding } from './contract/commanding.js';
import { describeDeclaring } from './contract/declaring.js';
import { describeEnqueueing } from './contract/enqueueing.js';
import { describeFailing } from './contract/failing.js';
import { describeIsolating } from './contract/isolating.js';
import { describeKeys } from './contract/keys.js';
import { describeOutliving } from './contract/outliving.js';
import { describeReading } from './contract/reading.js';
import { describeRunning } from './contract/running.js';
import { describeScheduling } from './contract/scheduling.js';
import { describeStopping } from './contract/stopping.js';
import type { EngineUnderTest, Suite, Tasks, TestRunner } from './suite.js';
import { waitFor } from './wait.js';

/**
 * Declares the tests that every engine must pass, each promise once. For authors of engines.
 *
 * @param name What the engine is called in the names of the tests.
 * @param make Called before each test, for a store of its own.
 * @param runner The functions of the test runner: those of Jest or Vitest.
 * @example
 * ```ts
 * import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
 * import { describeEngine } from 'koa-taskflow/testing';
 *
 * describeEngine('my', () => {
 *   const engine = myEngine();
 *   return { manager: (options) => new TaskManager({ ...options, engine }), cleanUp: () => engine.drop() };
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

    describe('runs tasks: it', () => describeRunning(suite));
    describe('fails and retries: it', () => describeFailing(suite));
    describe('cancels: it', () => describeCancelling(suite));
    describe('commands many: it', () => describeCommanding(suite));
    describe('enqueues: it', () => describeEnqueueing(suite));
    describe('keeps idempotency keys: it', () => describeKeys(suite));
    describe('keeps contexts apart: it', () => describeIsolating(suite));
    describe('follows handlers that outlive their attempt: it', () => describeOutliving(suite));
    describe('keeps schedules: it', () => describeScheduling(suite));
    describe('reads: it', () => describeReading(suite));
    describe('stops: it', () => describeStopping(suite));
    describe('declares what engines promise differently: it', () => describeDeclaring(suite));
  });
}
