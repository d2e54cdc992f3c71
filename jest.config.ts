/** @jest-config-loader esbuild-register */
import type { Config } from 'jest';

const config: Config = {
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts', '**/*.test.tsx'],
  setupFilesAfterEnv: ['<rootDir>/test/helpers/leaks.setup.ts'],
  extensionsToTreatAsEsm: ['.ts', '.tsx'],
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  transform: {
    '^.+\\.tsx?$': [
      '@swc/jest',
      {
        jsc: {
          target: 'es2022',
          parser: { syntax: 'typescript', tsx: true },
          transform: { react: { runtime: 'automatic', importSource: 'preact' } },
        },
        module: { type: 'es6' },
      },
    ],
  },
  // For a machine with much other load: an upper bound, which only a test that hangs reaches.
  testTimeout: 120_000,
  // A worker waits for part of its time, for browsers, other processes and timeouts, so on two
  // processors two workers would leave one of them idle. A fourth gains only two percent, and each
  // test then gets less of a processor.
  maxWorkers: 3,
  // Jest never frees the modules of a test file. With a growing heap, each garbage collection takes
  // longer, until a test waits seconds for it. A worker above this limit starts again.
  workerIdleMemoryLimit: '400MB',
};

export default config;
