import { expect, it } from '@jest/globals';
import { ruleWords } from '../../../../src/ui/pages/schedules/rule.js';

it.each([
  ['every 5', 'every 5 seconds', undefined],
  ['every 1', 'every second', undefined],
  ['every 90', 'every 90 seconds', undefined],
  ['every 3600', 'every hour', undefined],
  ['every 172800', 'every 2 days', undefined],
  ['0 3 * * * Europe/Berlin', 'daily at 03:00', 'Europe/Berlin'],
  ['*/15 * * * * UTC', 'every 15 minutes', 'UTC'],
  ['5 * * * * UTC', 'hourly at :05', 'UTC'],
  ['30 8 * * 1-5 UTC', 'Mondays to Fridays at 08:30', 'UTC'],
  ['0 9 * * 1 UTC', 'Mondays at 09:00', 'UTC'],
  ['0 0 1 * * UTC', 'on day 1 of each month at 00:00', 'UTC'],
  ['0 0 1 1 * UTC', '0 0 1 1 *', 'UTC'],
  ['*/10 0 3 * * * UTC', '*/10 0 3 * * *', 'UTC'],
])('a recurrence rule is described in words: %s', (rule, words, zone) => {
  expect(ruleWords(rule)).toEqual({ words, zone });
});
