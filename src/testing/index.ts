export { describeEngine } from './describe-engine.js';
export type { EngineUnderTest, Expect, Tasks, TestRunner } from './suite.js';
export { type TestEngine, type TestEngineOptions, testEngine } from './test-engine.js';
