export { hostileNames, hostilePasswords } from './contract/hostile-texts.js';
export { describeEngine } from './describe-engine.js';
export { describeStrategy, type StrategyTestRunner } from './describe-strategy.js';
export type { StrategyUnderTest, StrategyUser } from './strategy-suite.js';
export type { EngineUnderTest, Expect, Tasks, TestRunner } from './suite.js';
export { type TestEngine, type TestEngineOptions, testEngine } from './test-engine.js';
