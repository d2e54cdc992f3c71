import { describe, expect, it } from '@jest/globals';
import { newTaskId, taskIds, timeOfTaskId } from '../../src/tasks/task-id.js';

describe('a task id', () => {
  it('is a UUIDv7 of the current time', () => {
    const before = Date.now();
    const id = newTaskId();
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(timeOfTaskId(id)).toBeGreaterThanOrEqual(before);
    expect(timeOfTaskId(id)).toBeLessThanOrEqual(Date.now() + 1);
  });

  it('is unique and greater than all earlier ids', () => {
    const ids = Array.from({ length: 100_000 }, () => newTaskId());
    expect([...ids].sort()).toEqual(ids);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('is greater than earlier ids even if the clock is set back', () => {
    let now = Date.parse('2026-01-01T01:00:00Z');
    const next = taskIds(() => now);
    const first = next();
    now -= 3_600_000;
    const second = next();
    expect(second > first).toBe(true);
    expect(timeOfTaskId(second)).toBe(timeOfTaskId(first));
  });

  it('ends with 32 random bits', () => {
    const tails = new Set(Array.from({ length: 2000 }, () => newTaskId().slice(-8)));
    expect(tails.size).toBeGreaterThan(1990);
  });
});
