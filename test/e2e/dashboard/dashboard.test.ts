import { type IncomingMessage, request } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import Koa from 'koa';
import mount from 'koa-mount';
import { taskAdmin, taskLog } from '../../../src/index.js';
import { accessibilityFaults, submit } from '../../helpers/browser.js';
import { useDashboard, users } from '../../helpers/dashboard.js';
import { password, secretKey } from '../../helpers/passwords.js';
import { serve } from '../../helpers/serve.js';
import { eventually, waitFor } from '../../helpers/wait.js';

const board = useDashboard();

const fail = (message: string) => () => {
  throw new Error(message);
};

/** Makes a proxy that strips a prefix and names it in X-Forwarded-Prefix. */
function prefixed(prefix: string, target: string): Koa.Middleware {
  return async (ctx) => {
    const { host } = ctx.req.headers;
    const headers = { ...ctx.req.headers, 'x-forwarded-prefix': prefix, 'x-forwarded-host': host };
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const sent = request(
        target + ctx.url.slice(prefix.length),
        { method: ctx.method, headers },
        resolve,
      ).on('error', reject);
      ctx.req.pipe(sent);
      ctx.res.on('close', () => sent.destroy());
    });
    ctx.status = answer.statusCode ?? 502;
    ctx.set(answer.headers as Record<string, string>);
    ctx.body = answer;
  };
}

describe('the dashboard in a browser', () => {
  it('shows the login and then the requested URL with its open task', async () => {
    const { page } = board;
    const id = await board.tasks.task('bad', fail('declined')).enqueue();
    const search = `?status=failed&task=${id}&view=tasks`;
    await page.goto(board.url + search);
    expect(await page.title()).toBe('Sign in · Test shop');
    await page.fill('#username', 'admin');
    await page.fill('#password', 'wrong');
    await submit(page);
    expect(await page.textContent('[role=alert]')).toBe('Invalid username or password.');
    expect(await page.inputValue('#username')).toBe('admin');
    await page.fill('#password', password);
    await page.click('button[type=submit]');
    await page.waitForURL(board.url + search);
    await board.panel.locator('.error-box', { hasText: 'declined' }).waitFor();
  });

  it('supports a login without JavaScript', async () => {
    const plain = await board.browser.newContext({ javaScriptEnabled: false });
    const quiet = await plain.newPage();
    await quiet.goto(board.url);
    await quiet.fill('#username', 'admin');
    await quiet.fill('#password', password);
    await submit(quiet);
    expect(quiet.url()).toBe(board.url);
    await plain.close();
  });

  it('loads with five requests to its own host and 48 KB of scripts and styles', async () => {
    await board.tasks.task('good', () => 1).enqueue();
    await board.signIn();
    const fresh = await board.browser.newContext({
      storageState: await board.context.storageState(),
    });
    const page = await board.newPage(fresh);
    const asked: string[] = [];
    const weights: Record<string, number> = { js: 0, css: 0 };
    page.on('request', (request) => asked.push(request.url()));
    page.on('response', (response) => {
      const kind = /\.(js|css)$/.exec(response.url())?.[1];
      expect(kind === undefined || response.headers()['content-encoding'] !== undefined).toBe(true);
      if (kind) weights[kind] = (weights[kind] ?? 0) + Number(response.headers()['content-length']);
    });
    await page.goto(board.url);
    await page.locator('tr[data-task]', { hasText: 'good' }).waitFor();
    await page.locator('.health').waitFor();
    await page.waitForSelector('.connection.live');
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(asked.filter((url) => !url.startsWith(board.served.url))).toEqual([]);
    expect(asked.filter((url) => !url.endsWith('.svg'))).toHaveLength(5);
    expect(weights.js).toBeLessThan(40 * 1024);
    expect(weights.css).toBeLessThan(8 * 1024);
    for (const view of ['failures', 'schedules', 'queues', 'functions', 'audit', 'settings']) {
      await page.keyboard.press('Control+k');
      await page.locator('dialog[open] input').fill(view);
      await page.keyboard.press('Enter');
      await page.waitForURL(new RegExp(`view=${view}`));
    }
    await page.waitForFunction(() => !document.querySelector('.skeleton'));
    // Every page has been shown, so all scripts are loaded.
    expect(asked.filter((url) => url.endsWith('.js')).length).toBe(2);
    expect(weights.js).toBeLessThan(90 * 1024);
    await fresh.close();
  });

  it('loads without layout shifts and with few elements', async () => {
    const { tasks } = board;
    const ended = Array.from({ length: 60 }, (_, n) => [n] as [number]);
    await tasks
      .task('good', (n: number) => {
        if (n % 10 === 0) throw new Error('x');
      })
      .enqueueMany(ended);
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.failed === 6);
    await board.signIn();
    for (const search of ['', '?view=tasks']) {
      const page = await board.newPage();
      await page.addInitScript(() => {
        const shifts: number[] = [];
        Object.assign(window, { shifts });
        new PerformanceObserver((list) => {
          for (const shift of list.getEntries() as (PerformanceEntry & { value: number })[])
            shifts.push(shift.value);
        }).observe({ type: 'layout-shift', buffered: true });
        const look = (): void => {
          if (!document.querySelector('tr[data-task]')) requestAnimationFrame(look);
          else Object.assign(window, { drawnFirst: document.querySelectorAll('*').length });
        };
        look();
      });
      await page.goto(board.url + search);
      await page.locator('tr[data-task]').nth(49).waitFor();
      await page.waitForSelector('.connection.live');
      await board.settled(page);
      // No element may move afterwards either.
      await page.waitForTimeout(1000);
      const shifted = await page.evaluate(() =>
        (window as unknown as { shifts: number[] }).shifts.reduce((sum, one) => sum + one, 0),
      );
      expect(shifted).toBeLessThan(0.02);
      expect(
        await page.evaluate(() => (window as unknown as { drawnFirst: number }).drawnFirst),
      ).toBeLessThan(600);
      if (search !== '') expect(await page.locator('*').count()).toBeLessThan(1000);
      await page.close();
    }
  });

  it('shows in its first sentence what fails, with a link to the cause', async () => {
    const { page, tasks } = board;
    const good = tasks.task('good', () => 1);
    const bad = tasks.task('send_email', (n: number) => {
      throw new TypeError(`no address for order ${n}`);
    });
    await good.enqueue();
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.success === 1);
    await board.signIn();
    await page.locator('.health.good', { hasText: 'All is well' }).waitFor();
    for (let n = 0; n < 4; n++) await bad.enqueue(n);
    await page
      .locator('.health.bad', {
        hasText: '4 failures in the last 15 min, all from send_email. Started',
      })
      .waitFor();
    await page.locator('.health').getByRole('link', { name: 'Show failures' }).click();
    const group = page.locator('tbody tr', { hasText: 'no address for order' });
    await group.waitFor();
    await eventually(async () => expect(await page.locator('tbody tr').count()).toBe(1));
    await group.locator('th a').click();
    await board.panel.locator('.stack', { hasText: 'dashboard.test' }).waitFor();
    expect(board.complaints).toEqual([]);
  });

  it('shows a viewer no button for changes, and rejects their requests', async () => {
    const { page, tasks } = board;
    const bad = tasks.task('bad', fail('x'));
    const id = await bad.enqueue();
    tasks.schedule('nightly', bad, { cron: '0 3 * * *' });
    await waitFor(async () => (await tasks.get(id))?.status === 'failed');
    const words = /\b(retry|cancel|pause|resume|run now|delete)\b/i;
    const views = ['tasks', 'failures', 'schedules', 'queues', 'functions', 'settings'];
    /** Returns the number of buttons and boxes that change something, by page. */
    const offered = async (): Promise<[search: string, number][]> => {
      const found: [string, number][] = [];
      for (const search of [`?task=${id}`, ...views.map((view) => `?view=${view}`)]) {
        await board.visit(search);
        const buttons = await page.locator('main button').allTextContents();
        const boxes = await page.locator('main input[type=checkbox][aria-label^=Select]').count();
        found.push([search, buttons.filter((text) => words.test(text)).length + boxes]);
      }
      return found;
    };
    await board.signIn();
    expect((await offered()).filter(([, n]) => n === 0)).toEqual([]);
    await board.context.clearCookies();
    await board.signIn('', { username: 'vera', pass: 'three' });
    expect((await offered()).filter(([, n]) => n > 0)).toEqual([]);
    const status = await page.evaluate(
      (task) => fetch(`/tasks/${task}/retry`, { method: 'POST' }).then((answer) => answer.status),
      id,
    );
    expect(status).toBe(403);
  });

  it('signs out to the login page and notifies another window', async () => {
    const { page, context } = board;
    await board.signIn();
    const other = await board.newPage(context);
    await other.goto(board.url);
    await other.waitForSelector('.connection.live');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.waitForURL(`${board.served.url}/tasks/auth/login`);
    // The remaining cookie only marks the browser as familiar.
    expect((await context.cookies()).map(({ name }) => name)).toEqual(['taskflow_token_device']);
    // No page is cached, so Back sends a request, which is now anonymous.
    await page.goBack();
    await page.waitForSelector('#password');
    await other.getByText('Your session has ended').waitFor();
  });

  it('applies the chosen theme without a flash, also on the login page', async () => {
    const { page } = board;
    await page.emulateMedia({ colorScheme: 'dark' });
    await board.signIn();
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await eventually(async () => expect(await background()).toBe('rgb(13, 17, 23)'));
    await page.getByRole('button', { name: 'Theme: system' }).click();
    await page.locator('html[data-theme=light]').waitFor();
    await page.reload();
    // The server sets the theme, so no script is needed.
    expect(await (await page.request.get(board.url)).text()).toContain(
      '<html lang="en" data-theme="light">',
    );
    await eventually(async () => expect(await background()).toBe('rgb(245, 245, 245)'));
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.waitForSelector('#password');
    await page.locator('html[data-theme=light]').waitFor();
  });

  it.each([
    ['/admin/jobs', '/shop'],
    ['/', undefined],
    ['/', '/jobs'],
  ] as const)('works at %s, mounted at %s', async (path, mounted) => {
    const { page, tasks } = board;
    const admin = taskAdmin(tasks, { path, auth: users, secretKey, logger: false });
    const app = new Koa();
    app.use(mounted ? mount(mounted, admin) : admin);
    const other = await serve(app);
    try {
      const prefix = `${mounted ?? ''}${path === '/' ? '' : path}`;
      await tasks.task('bad', fail('declined')).enqueue();
      await page.goto(`${other.url}${prefix}/dashboard?status=failed`);
      await page.fill('#username', 'admin');
      await page.fill('#password', password);
      await page.click('button[type=submit]');
      await page.waitForSelector('.connection.live');
      await board.row('bad').locator('a').click();
      await board.panel.locator('.error-box', { hasText: 'declined' }).waitFor();
      await page.getByRole('button', { name: 'Clear filters' }).click();
      await board.row('bad').waitFor();
      await page.getByRole('link', { name: 'Functions', exact: true }).click();
      await page.locator('tbody tr', { hasText: 'bad' }).waitFor();
      await page.getByRole('button', { name: 'Sign out' }).click();
      await page.waitForURL(`${other.url}${prefix}/auth/login`);
      expect(board.complaints).toEqual([]);
    } finally {
      await other.close();
    }
  });

  it('escapes hostile text everywhere', async () => {
    const { page, tasks } = board;
    const hostile = '<img src=x onerror="document.title=1">\u202e\u001b[31m=cmd()';
    const name = '<img src=x onerror="document.title=1">';
    const bad = tasks.task(
      name,
      (text: string) => {
        taskLog(text);
        throw new Error(text + 'x'.repeat(1_000_000));
      },
      { tags: { '<b>': hostile } },
    );
    tasks.schedule('<i>yearly</i>', bad, { cron: '0 0 1 1 *', args: [hostile] });
    const id = await bad.enqueue(hostile);
    await board.signIn();
    for (const search of [
      '',
      '?view=tasks',
      '?view=failures',
      '?view=schedules',
      '?view=queues',
      '?view=functions',
      '?view=audit',
      '?view=settings',
    ]) {
      await board.visit(search);
      expect(await page.locator('main img, main b, main i').count()).toBe(0);
    }
    for (const tab of ['summary', 'logs', 'data', 'facts']) {
      await board.visit(`?tab=${tab}&task=${id}`);
      await board.panel.locator('[role=tabpanel]').waitFor();
      if (tab === 'logs') await board.panel.locator('.log .line', { hasText: '<img' }).waitFor();
      expect(await page.locator('main img, main b, main i').count()).toBe(0);
    }
    const csv = await (
      await page.request.get(`${board.served.url}/tasks/export?format=csv`)
    ).text();
    expect(csv).not.toMatch(/(^|,)=/m);
    expect(board.complaints).toEqual([]);
  });

  it.each([
    ['light', 1440],
    ['dark', 834],
    ['dark', 390],
    ['light', 320],
  ] as const)(
    'has no accessibility errors and no horizontal scrolling, in %s at %i pixels',
    async (colorScheme, width) => {
      const { page, tasks } = board;
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 900 });
      const bad = tasks.task(
        'bad',
        () => {
          taskLog('x', { a: 1 });
          throw new Error('a rather long message of an error, to see where it ends '.repeat(4));
        },
        { tags: { tenant: '7' } },
      );
      const flaky = tasks.task('flaky_with_a_rather_long_name_of_its_own', fail('x'), {
        retries: 1,
      });
      tasks.schedule('nightly_report_of_all_the_things', bad, {
        cron: '0 3 * * *',
        timezone: 'Europe/Berlin',
      });
      const id = await bad.enqueue();
      await Promise.all([
        flaky.enqueue(),
        tasks.task('good', () => ({ a: 1 })).enqueue(),
        tasks.define('never').enqueue(),
      ]);
      await tasks.control(
        { action: 'pause', queue: 'slow' },
        { actor: 'ada', reason: 'the bank is down' },
      );
      const sideways = () =>
        page.evaluate(() => {
          const { scrollWidth, clientWidth } = document.documentElement;
          const wide = [...document.querySelectorAll('body *')].filter(
            (element) => element.getBoundingClientRect().right > clientWidth,
          );
          return scrollWidth > clientWidth
            ? wide.map((element) => element.outerHTML.slice(0, 80))
            : [];
        });
      const faults: string[] = [];
      const look = async (what: string): Promise<void> => {
        faults.push(...(await accessibilityFaults(page)).map((fault) => `${what}: ${fault}`));
        faults.push(...(await sideways()).map((html) => `${what} too wide: ${html}`));
      };
      await page.goto(board.url);
      await look('login');
      await board.signIn();
      await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.failed === 2);
      for (const name of [
        'overview',
        'tasks',
        'failures',
        'schedules',
        'queues',
        'functions',
        'audit',
        'settings',
      ]) {
        await board.follow(`?view=${name}`);
        await page.waitForFunction(() => !document.querySelector('.skeleton'));
        await look(name);
      }
      for (const tab of ['summary', 'logs', 'data', 'facts']) {
        await board.follow(`?tab=${tab}&task=${id}&view=tasks`);
        await board.panel.locator('[role=tabpanel]').waitFor();
        if (tab === 'logs') await board.panel.locator('.log .line').waitFor();
        await look(tab);
      }
      await board.panel.getByRole('button', { name: 'Edit & retry' }).click();
      await page.locator('dialog[open] textarea').waitFor();
      await look('edit');
      await page.keyboard.press('Escape');
      await page.keyboard.press('Control+k');
      await page.locator('dialog[open] [role=listbox]').waitFor();
      await look('palette');
      await page.keyboard.press('Escape');
      await board.follow('?view=queues');
      await page
        .locator('tr', { hasText: 'default' })
        .getByRole('button', { name: 'Pause…' })
        .click();
      await page.locator('dialog[open]').waitFor();
      await look('confirmation');
      expect(faults).toEqual([]);
      expect(board.complaints).toEqual([]);
    },
  );

  it('supports retry, cancel and pause at 320 pixels', async () => {
    const { tasks } = board;
    await board.context.close();
    const page = await board.open({
      viewport: { width: 320, height: 640 },
      hasTouch: true,
      isMobile: true,
    });
    let healthy = false;
    const flaky = tasks.task('flaky', () => {
      if (!healthy) throw new Error('x');
    });
    await flaky.enqueue();
    await tasks.define('waits').enqueue();
    await board.signIn('?view=tasks');
    await board.row('flaky').locator('th a').tap();
    await board.panel.locator('.error-box').waitFor();
    healthy = true;
    await board.panel.getByRole('button', { name: 'Retry', exact: true }).tap();
    await board.panel.locator('h2 .badge.success').waitFor();
    await board.panel.getByRole('button', { name: 'Close' }).tap();
    await board.row('waits').locator('th a').tap();
    await board.panel.getByRole('button', { name: 'Cancel' }).tap();
    await board.panel.locator('h2 .badge.cancelled').waitFor();
    await page.locator('.notice').getByRole('button', { name: 'Undo' }).tap();
    await board.panel.locator('h2 .badge.pending').waitFor();
    await page.getByRole('link', { name: 'Queues' }).tap();
    await page.locator('tr', { hasText: 'default' }).getByRole('button', { name: 'Pause…' }).tap();
    await page.locator('dialog[open]').getByRole('button', { name: 'Pause queue' }).tap();
    await page.locator('.banner', { hasText: 'Queue default is paused by admin' }).waitFor();
  });

  it('works twice on one host with separate sessions, also behind a proxy prefix', async () => {
    const { tasks } = board;
    const app = new Koa({ proxy: true });
    app.use(
      taskAdmin(tasks, { path: '/one', auth: users, secretKey, title: 'First', logger: false }),
    );
    app.use(
      taskAdmin(tasks, {
        path: '/two',
        auth: users,
        secretKey: `${secretKey}-two`,
        title: 'Second',
        logger: false,
      }),
    );
    const inner = await serve(app);
    // It strips its prefix and names it, as nginx does.
    const outer = new Koa();
    outer.silent = true;
    const proxy = await serve(outer.use(prefixed('/shop', inner.url)));
    const origin = inner.url;
    // Cookies ignore the port of a host.
    const shop = proxy.url.replace('127.0.0.1', 'localhost');
    try {
      const context = await board.browser.newContext();
      const [first, second, third] = await Promise.all([
        board.newPage(context),
        board.newPage(context),
        board.newPage(context),
      ]);
      const signIn = async (page: typeof first, url: string): Promise<void> => {
        await page.goto(url);
        await page.fill('#username', 'admin');
        await page.fill('#password', password);
        await page.click('button[type=submit]');
        await page.waitForSelector('.connection.live');
      };
      await signIn(first, `${origin}/one/dashboard`);
      await signIn(second, `${origin}/two/dashboard?view=tasks`);
      await signIn(third, `${shop}/shop/one/dashboard?view=tasks`);
      expect(third.url()).toBe(`${shop}/shop/one/dashboard?view=tasks`);
      await tasks.define('for_all').enqueue();
      for (const page of [first, second, third])
        await page.locator('tr[data-task]', { hasText: 'for_all' }).waitFor();
      await third.locator('tr[data-task] th a').click();
      await third.locator('.panel .tabs').waitFor();
      await third.getByRole('link', { name: 'Functions', exact: true }).click();
      await third.locator('tbody tr', { hasText: 'for_all' }).waitFor();
      await first.getByRole('button', { name: 'Sign out' }).click();
      await first.waitForURL(`${origin}/one/auth/login`);
      await second.reload();
      await second.waitForSelector('.connection.live');
      expect(await second.textContent('.header .title')).toBe('Second');
      await context.close();
    } finally {
      await Promise.all([inner.close(), proxy.close()]);
    }
  });

  it('offers a next step in every state: empty, not found, error and removed', async () => {
    const { page, tasks } = board;
    await board.signIn('?view=tasks');
    await page.getByText('Three lines create the first one').waitFor();
    const id = await tasks.task('bad', fail('x')).enqueue();
    await board.row('bad').waitFor();
    await board.visit('?name=good&q=nowhere');
    await page.getByText('No task matches these filters.').waitFor();
    await page.getByRole('button', { name: 'Clear search' }).click();
    await page.waitForURL(`${board.url}?name=good&view=tasks`);
    await page.getByRole('button', { name: 'Clear function' }).click();
    await board.row('bad').waitFor();

    await board.visit('?task=01890a5d-ac96-774b-bcce-b302099a8057');
    await page.getByText('There is no such task.').waitFor();
    await page.getByRole('button', { name: 'Back to the list' }).click();
    await board.panel.waitFor({ state: 'detached' });

    await board.row('bad').locator('a').click();
    await board.panel.locator('.error-box').waitFor();
    await tasks.control({ action: 'delete', ids: [id] }, { actor: 'test' });
    await board.panel.getByText('Removed from the history at').waitFor();
    await eventually(async () => expect(await board.panel.locator('.error-box').count()).toBe(1));

    await tasks.define('never_mind').enqueue();
    await page.route('**/tasks/functions*', (route) =>
      route.fulfill({
        status: 503,
        json: { code: 'ENGINE_UNAVAILABLE', detail: 'The disk is full.', requestId: 'r-17' },
      }),
    );
    await board.visit('?view=functions');
    await page.getByText('The functions could not be loaded.').waitFor();
    await page.getByText('ENGINE_UNAVAILABLE · request r-17').waitFor();
    await page.unroute('**/tasks/functions*');
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.locator('tbody tr', { hasText: 'bad' }).waitFor();

    await page.route('**/tasks/schedules', (route) =>
      route.fulfill({
        status: 501,
        json: { code: 'NOT_SUPPORTED', detail: 'This engine has no schedules.' },
      }),
    );
    await board.visit('?view=schedules');
    await page.getByText('The schedules: this engine cannot do that.').waitFor();
    await page.route('**/tasks?**', (route) =>
      route.fulfill({
        status: 500,
        json: { code: 'INTERNAL', detail: 'Something went wrong here.', requestId: 'r-18' },
      }),
    );
    await board.visit('?view=tasks');
    await page.getByRole('button', { name: 'Duration' }).click();
    await page.getByText('INTERNAL · request r-18').waitFor();
    await page.unroute('**/tasks?**');
    await page.getByRole('button', { name: 'Try again' }).click();
    await board.row('never_mind').waitFor();

    await board.visit('?sort=sideways&status=odd&utm_source=mail&view=tasks');
    await page
      .getByText('Ignored in the address, because the value is not valid: sort, status.')
      .waitFor();
    await page.locator('.chip.failed').click();
    await page.waitForURL(`${board.url}?status=failed&utm_source=mail&view=tasks`);
  });
});
