import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { JobEngine } from '../../../src/engines/bullmq/job-engine.js';
import { loggerOption } from '../../../src/options.js';
import { startBrowser } from '../../helpers/browser.js';
import { ask, postJson } from '../../helpers/client.js';
import { Dashboard } from '../../helpers/dashboard.js';
import { password } from '../../helpers/passwords.js';
import { hasRedis, RedisServer } from '../../helpers/redis.js';
import { waitFor } from '../../helpers/wait.js';

const board = new Dashboard();
let redis: RedisServer;
let runs = 0;

const sentence = 'This list covers only the newest 60 tasks. Older tasks are not included.';

(hasRedis ? describe : describe.skip)(
  'the dashboard with more tasks in Redis than in memory',
  () => {
    beforeAll(async () => {
      [board.browser, redis] = await Promise.all([startBrowser(), RedisServer.start()]);
    });
    afterAll(() => Promise.all([board.browser.close(), redis.remove()]));
    beforeEach(async () => {
      board.complaints = [];
      const engine = new JobEngine({
        ...{
          connection: redis.connection,
          prefix: `newest-${++runs}`,
          logger: loggerOption('logger', false),
          lockDuration: 20_000,
        },
        kept: { age: 604_800, count: 100_000 },
        statistics: { minutes: 604_800_000, hours: 34_560_000_000 },
        window: { ended: 60, pending: 20 },
      });
      await board.start({ engine }, false);
      const bad = board.tasks.task('bad', () => {
        throw new Error('the printer is on fire');
      });
      await bad.enqueueMany(Array.from({ length: 150 }, () => []));
      await waitFor(
        async () => (await board.tasks.aggregate('statsSnapshot')).counts.failed === 150,
      );
      await waitFor(async () => (await board.tasks.find({ limit: 1 })).searched === 60);
      await board.open();
    });
    afterEach(async () => {
      await board.context.close();
      await Promise.all([board.served.close(), board.tasks.stop({ timeout: 0.1 })]);
    });

    it('states which tasks a search and a sorted list cover', async () => {
      const { page } = board;
      const coverage = page.locator('.coverage');
      await board.signIn('?view=tasks');
      await board.hasRows(50);
      expect(await coverage.count()).toBe(0);
      await page.getByRole('button', { name: 'older' }).click();
      await board.hasRows(10);
      expect(await coverage.textContent()).toBe(sentence);
      await board.visit('?view=tasks&sort=-duration');
      expect(await coverage.textContent()).toBe(sentence);
      await board.visit('?view=tasks&name=bad');
      expect(await coverage.textContent()).toBe(sentence);
      await board.visit('?view=tasks&q=nothing');
      expect(await coverage.textContent()).toBe(sentence);
      // This list is read from Redis, so it has all tasks.
      await board.visit('?view=tasks&status=failed&sort=-duration');
      await page.getByRole('link', { name: 'Sort by end time' }).click();
      await page.waitForURL(/sort=-endedAt/);
      await coverage.waitFor({ state: 'detached' });
      await board.hasRows(50);
      expect(await coverage.count()).toBe(0);
      expect(board.complaints).toEqual([]);
    });

    it('warns that a command to all matching tasks changes only the newest', async () => {
      const { page } = board;
      await board.signIn('?view=functions');
      const dialog = page.locator('dialog[open]');
      const warning = dialog.getByText(
        'Only the newest tasks were searched. Older tasks that match stay as they are.',
      );
      await page
        .locator('tbody tr', { hasText: 'bad' })
        .getByRole('button', { name: 'Retry' })
        .click();
      await warning.waitFor();
      await board.visit('?view=tasks&name=bad');
      await page.locator('summary', { hasText: 'matching' }).click();
      await page.getByRole('button', { name: 'Delete all matching' }).click();
      await warning.waitFor();
      await dialog.getByRole('button', { name: 'Delete 60 tasks' }).click();
      await waitFor(
        async () => (await board.tasks.aggregate('statsSnapshot')).counts.failed === 90,
      );
      expect(board.complaints).toEqual([]);
    });

    it('deletes the history before a time, including tasks that are not in memory', async () => {
      const api = `${board.served.url}/tasks`;
      const login = await postJson(`${api}/auth/login`, { username: 'admin', password });
      const headers = { Authorization: `Bearer ${(login.json as { token: string }).token}` };
      const url = `${api}/history?before=${new Date(Date.now() + 60_000).toISOString()}`;
      expect((await ask(`${url}&dryRun=true`, { method: 'DELETE', headers })).json).toEqual({
        deleted: 150,
        more: false,
      });
      expect((await ask(url, { method: 'DELETE', headers })).json).toEqual({
        deleted: 150,
        more: false,
      });
      expect((await board.tasks.aggregate('statsSnapshot')).counts.failed).toBe(0);
    });
  },
);
