import { describe, expect, it } from '@jest/globals';
import { commandTasks } from '../../src/engines/bulk.js';
import { TaskflowError } from '../../src/errors.js';
import type { CommandResult } from '../../src/tasks/engine.js';

describe('a command to many tasks', () => {
  const ids = Array.from({ length: 450 }, (_, n) => `task-${n}`);

  it.each([
    [1, false],
    [2, true],
    [3, true],
  ])('that fails in step %i says whether earlier steps were done', async (failing, maybeDone) => {
    let step = 0;
    const parts = {
      act: async (_command: unknown, some: readonly string[]) => {
        step += 1;
        if (step === failing) throw new TaskflowError('ENGINE_UNAVAILABLE', 'gone', { detail: 'Gone.' });
        return some.map((id): CommandResult => ({ id, ok: false, code: 'TASK_NOT_FOUND' }));
      },
    } as Partial<Parameters<typeof commandTasks>[0]>;
    const failed = commandTasks(parts as Parameters<typeof commandTasks>[0], { action: 'cancel', ids }, { actor: 'ada' });
    await expect(failed).rejects.toMatchObject({ code: 'ENGINE_UNAVAILABLE', maybeDone });
  });
});
