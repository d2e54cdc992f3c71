import type { TaskManager } from '../manager.js';
import type { TaskManagerOptions } from '../manager-options.js';
import type { TaskDetail, TaskStatus } from '../tasks/types.js';

/**
 * The part of a test runner that the suites use. Jest and Vitest provide it, as globals or as
 * imports.
 */
export interface TestRunner {
  describe(name: string, body: () => void): void;
  it(name: string, body: () => Promise<void> | void, timeout?: number): void;
  beforeEach(body: () => Promise<void> | void): void;
  afterEach(body: () => Promise<void> | void): void;
  expect: Expect;
}

/** The assertions that the suites use. */
export interface Expect {
  (actual: unknown): Matchers & { not: Matchers; rejects: Pick<Matchers, 'toThrow'> };
  objectContaining(expected: Record<string, unknown>): unknown;
  any(kind: unknown): unknown;
}

interface Matchers {
  toBe(expected: unknown): void;
  toEqual(expected: unknown): void;
  toMatchObject(expected: object): void;
  toMatch(expected: RegExp): void;
  toContain(expected: unknown): void;
  toHaveLength(expected: number): void;
  toBeNull(): void;
  toBeUndefined(): void;
  toBeDefined(): void;
  toBeGreaterThan(expected: number): void;
  toBeGreaterThanOrEqual(expected: number): void;
  toBeLessThan(expected: number): void;
  toBeLessThanOrEqual(expected: number): void;
  toThrow(expected?: unknown): unknown;
}

/** The public members of a `TaskManager`, which the suites use. */
export type Tasks = Pick<TaskManager, keyof TaskManager>;

/** What the suites need of an engine under test. */
export interface EngineUnderTest {
  /** Returns a manager on the store of the current test. It must get the given options. */
  manager(
    options: Pick<TaskManagerOptions, 'concurrency' | 'limits' | 'logger' | 'encryptionKeys'>,
  ): Tasks;
  /** Removes the store; called after all managers have stopped. */
  cleanUp(): Promise<void> | void;
}

/** What each part of the suite works with. */
export interface Suite {
  runner: TestRunner;
  manager(options?: Parameters<EngineUnderTest['manager']>[0]): Tasks;
  /** Waits until a task is in a state, and returns the task. */
  ended(tasks: Tasks, id: string, status: TaskStatus): Promise<TaskDetail>;
}
