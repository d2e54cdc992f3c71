import { afterEach, describe, expect, it } from '@jest/globals';
import Koa from 'koa';
import type { Page } from 'playwright-core';
import { type Access, multiUser, StrategyRegistry } from '../../../src/auth/index.js';
import { type TaskAdminOptions, taskAdmin } from '../../../src/index.js';
import { useDashboard } from '../../helpers/dashboard.js';
import { cheapHash, password, secretKey } from '../../helpers/passwords.js';
import { type Served, serve } from '../../helpers/serve.js';

const board = useDashboard();
let served: Served | undefined;
afterEach(async () => {
  await served?.close();
  served = undefined;
});

/** Serves the tasks of the dashboard with another login. */
async function serveWith(auth: TaskAdminOptions['auth']): Promise<string> {
  const app = new Koa();
  app.use(
    taskAdmin(board.tasks, {
      auth,
      ...(auth instanceof StrategyRegistry && { secretKey }),
      logger: false,
    }),
  );
  served = await serve(app);
  return `${served.url}/tasks/dashboard`;
}

const twoStrategies = () =>
  new StrategyRegistry()
    .register('team', multiUser([['ada', cheapHash(password)]]))
    .register('partners', multiUser([['ada', cheapHash('three'), { roles: ['operator'] }]]));

describe('users of two strategies with the same name', () => {
  const signInAs = async (
    page: Page,
    url: string,
    strategy: 'team' | 'partners',
  ): Promise<void> => {
    await page.goto(url);
    await page.fill('#username', 'ada');
    await page.fill('#password', strategy === 'team' ? password : 'three');
    await page.selectOption('#strategy', strategy);
    await page.click('button[type=submit]');
    await page.waitForSelector('.connection.live');
  };

  it('are shown with their strategies in header, audit, settings and sessions', async () => {
    const url = await serveWith(twoStrategies());
    const { page: partner, tasks } = board;
    await tasks.define('waits').enqueue();
    await signInAs(partner, `${url}?view=tasks`, 'partners');
    await partner.locator('.user', { hasText: /^ada \(partners\)$/ }).waitFor();
    await board.row('waits').locator('th a').click();
    await board.panel.getByRole('button', { name: 'Cancel' }).click();
    await board.panel.locator('h2 .badge.cancelled').waitFor();
    await partner.goto(`${url}?view=settings`);
    await partner.getByText('You are ada (partners)').waitFor();

    const page = await board.newPage(await board.browser.newContext());
    await signInAs(page, `${url}?view=audit`, 'team');
    await page.locator('.user', { hasText: /^ada \(team\)$/ }).waitFor();
    const who = page.getByRole('table', { name: 'Audit log' }).locator('tbody th');
    await who.nth(2).waitFor();
    expect(await who.allTextContents()).toEqual(['ada (team)', 'ada (partners)', 'ada (partners)']);

    const sessions = page.getByRole('table', { name: 'Open sessions' }).locator('tbody tr');
    await sessions.filter({ hasText: 'ada (team) this one' }).waitFor();
    expect(await sessions.count()).toBe(1);
    await page.getByLabel('Strategy').selectOption('partners');
    await page.getByRole('button', { name: 'Show' }).click();
    await sessions
      .filter({ hasText: 'ada (partners)' })
      .getByRole('button', { name: 'End…' })
      .click();
    const dialog = page.locator('dialog[open]');
    await dialog.getByText('The session of ada (partners) ends at once').waitFor();
    await dialog.getByRole('button', { name: 'End session' }).click();
    await page.getByText('There is no open session.').waitFor();
    expect(board.complaints).toEqual([]);
    await page.context().close();
  });

  it('get their own page if they sign in after the session of the other ended', async () => {
    const url = await serveWith(twoStrategies());
    const { page } = board;
    await signInAs(page, url, 'partners');
    await page.locator('.user', { hasText: 'ada (partners)' }).waitFor();
    await board.context.clearCookies({ name: 'taskflow_token' });
    await page
      .getByRole('navigation', { name: 'Pages of the dashboard' })
      .getByRole('link', { name: 'Queues' })
      .click();
    const dialog = page.locator('dialog[open]', { hasText: 'Your session has ended' });
    const method = dialog.getByLabel('Sign-in method');
    expect(await method.inputValue()).toBe('partners');
    await method.selectOption('team');
    await dialog.getByLabel('Password').fill(password);
    await dialog.getByRole('button', { name: 'Sign in' }).click();
    await page.locator('.user', { hasText: 'ada (team)' }).waitFor();
    await page.locator('.user[title=admin]').waitFor();
  });
});

it('the dashboard shows no strategy if there is only one', async () => {
  const { page } = board;
  await board.signIn('?view=audit');
  await page.locator('.user', { hasText: /^admin$/ }).waitFor();
  await page
    .getByRole('table', { name: 'Audit log' })
    .locator('th', { hasText: /^admin$/ })
    .waitFor();
  await page
    .getByRole('table', { name: 'Open sessions' })
    .locator('th', { hasText: /^admin this one$/ })
    .waitFor();
  expect(await page.getByLabel('Strategy').count()).toBe(0);
});

it.each<[string, Pick<Access, 'strategies'>, string]>([
  ['the strategy that the login of the app names', {}, 'eve (sso)'],
  ['no strategy if the login of the app has only one', { strategies: () => ['sso'] }, 'eve'],
])('the dashboard shows %s', async (_case, more, shown) => {
  const url = await serveWith({
    who: () => ({ name: 'eve', roles: ['admin'], strategy: 'sso' }),
    ...more,
  });
  await board.page.goto(url);
  await board.page.waitForSelector('.connection.live');
  expect(await board.page.textContent('.user')).toBe(shown);
});
