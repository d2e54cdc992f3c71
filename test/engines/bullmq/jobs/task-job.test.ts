import { describe, expect, it } from '@jest/globals';
import { attemptField, jobFields, toJob } from '../../../../src/engines/bullmq/jobs/task-job.js';

describe('the fields of koa-taskflow in a job', () => {
  it('are unique, and none begins the name of an attempt record', () => {
    const names = Object.values(jobFields);
    expect(new Set(names).size).toBe(names.length);
    expect(names.filter((name) => attemptField(1).startsWith(name))).toEqual([]);
  });
});

describe('the job of a task', () => {
  it('is delayed only if the task is due later, so that queue order is kept', () => {
    const task = {
      name: 'mail',
      args: '[]',
      queue: 'default',
      priority: 0,
      tags: {},
      source: 'manual',
      attempts: 1,
      interrupts: 0,
    } as const;
    const now = Date.now();
    const id = '01900000-0000-7000-8000-000000000000';
    // The id may be of the millisecond before.
    expect(
      toJob({ ...task, id, createdAt: now - 1, runAt: now }, false).opts.delay,
    ).toBeUndefined();
    expect(toJob({ ...task, id, createdAt: now - 1, runAt: now + 60_000 }, false).opts.delay).toBe(
      60_001,
    );
  });

  it('keeps its delay and idempotency key if the clock was set back', () => {
    const now = Date.now();
    const hour = 3_600_000;
    const { timestamp, opts } = toJob(
      {
        ...{
          id: '01900000-0000-7000-8000-000000000000',
          name: 'mail',
          args: '[]',
          queue: 'default',
          priority: 0,
          tags: {},
        },
        ...{
          source: 'manual',
          attempts: 1,
          interrupts: 0,
          createdAt: now + hour,
          runAt: now + 60_000,
        },
        idempotency: { key: 'k', until: now + 1000 },
      },
      false,
    );
    expect(timestamp + (opts.delay ?? 0)).toBe(now + 60_000);
    expect((opts as { deduplication?: { ttl?: number } }).deduplication?.ttl).toBeGreaterThan(500);
  });
});
