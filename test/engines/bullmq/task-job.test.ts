import { describe, expect, it } from '@jest/globals';
import { attemptField, jobFields } from '../../../src/engines/bullmq/task-job.js';

describe('the fields of this package in a job', () => {
  it('have names of their own, which no record of an attempt has', () => {
    const names = Object.values(jobFields);
    expect(new Set(names).size).toBe(names.length);
    expect(names.filter((name) => attemptField(1).startsWith(name))).toEqual([]);
  });
});
