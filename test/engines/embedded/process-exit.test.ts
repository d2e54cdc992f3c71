import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { temporaryFolder } from '../../helpers/folder.js';
import { startScript } from '../../helpers/process.js';

describe('a process that exits', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  beforeEach(() => {
    folder = temporaryFolder();
  });
  afterEach(() => folder.remove());

  it.each([
    ['write', 'exit', 7],
    ['write', 'throw', 1],
    ['backup', 'exit', 7],
    ['backup', 'throw', 1],
  ])('keeps its exit code during a %s, after %s', async (busy, way, code) => {
    expect(await startScript('exits-while-busy.js', folder.file('tasks.db'), busy, way).ended).toBe(
      code,
    );
  });
});
