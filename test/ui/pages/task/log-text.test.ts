import { describe, expect, it } from '@jest/globals';
import type { LogLine } from '../../../../src/client/client.js';
import { lineText } from '../../../../src/ui/pages/task/log-text.js';

const line: LogLine = {
  n: 1,
  at: '2026-03-01T12:00:00.000Z',
  attempt: 2,
  level: 'warn',
  message: 'slow',
  fields: { ms: 5 },
};

describe('the downloaded text of a log', () => {
  it('shows time, attempt, level, message and fields of a line', () => {
    expect(lineText(line)).toBe('2026-03-01T12:00:00.000Z 2 WARN  slow {"ms":5}\n');
  });

  it('shows a dash for an unknown time and an unknown attempt', () => {
    expect(lineText({ ...line, at: null, attempt: null, fields: null })).toBe('- - WARN  slow\n');
  });

  it('marks a line that was written after the end of its attempt', () => {
    expect(lineText({ ...line, late: true })).toBe(
      '2026-03-01T12:00:00.000Z 2 WARN  (late) slow {"ms":5}\n',
    );
  });
});
