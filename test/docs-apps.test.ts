import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from '@jest/globals';
import { hashSync } from '@node-rs/bcrypt';
import { ask, postForm } from './helpers/client.js';
import { filesOf, type PageFolder, pageFolder } from './helpers/docs-app.js';
import { temporaryFolder } from './helpers/folder.js';
import { freePort } from './helpers/free-port.js';
import { PlainBrowser } from './helpers/oidc-provider.js';
import { cheapHash } from './helpers/passwords.js';
import { startProcess } from './helpers/process.js';
import { requestText, sendRaw } from './helpers/raw.js';
import { hasSlapd, startExampleDirectory } from './helpers/slapd.js';
import { eventually, waitFor } from './helpers/wait.js';

const root = fileURLToPath(new URL('..', import.meta.url));

/** The pages of the docs with their files. */
const docs = readdirSync(`${root}/docs`)
  .filter((file) => file.endsWith('.md'))
  .map((file) => ({
    page: `docs/${file}`,
    files: filesOf(readFileSync(`${root}/docs/${file}`, 'utf8')),
  }));

const env = { TASKFLOW_SECRET_KEY: 'abcdefghijklmnopqrstuvwxyz0123456789' };

/** Signs in with a password, and resolves to what the page shows. */
async function shownTo(app: PageFolder, username: string, password: string): Promise<unknown> {
  const first = await sendRaw(app.base, requestText('GET', '/', { Accept: 'text/html' }));
  expect([first.status, first.headers.get('location')]).toEqual([
    302,
    '/tasks/auth/login?next=%2F',
  ]);
  const login = `${app.base}/tasks/auth/login`;
  expect((await ask(login)).text).toContain('<form');
  const { cookie = '' } = await postForm(login, { username, password });
  return (await ask(app.base, { headers: { cookie } })).json;
}

/** Signs in at the provider of the examples, and resolves to what the page shows. */
async function shownAfterProvider({ base }: PageFolder, login: string): Promise<unknown> {
  const browser = new PlainBrowser();
  let url = new URL('/tasks/auth/start/sso?next=%2F', base);
  for (let steps = 0; steps < 20; steps += 1) {
    let response = await browser.fetch(url);
    if (url.href === `${base}/`) return response.json();
    if (url.pathname.startsWith('/interaction/')) {
      const [, prompt = ''] = /name="prompt" value="(\w+)"/.exec(await response.text()) ?? [];
      const body = new URLSearchParams({ prompt, login, password: 'any' });
      response = await browser.fetch(url, { method: 'POST', body });
    }
    const location = response.headers.get('location');
    if (location === null) throw new Error(`${url.pathname}: ${await response.text()}`);
    url = new URL(location, url);
  }
  throw new Error('too many redirects');
}

/** What a reader does with the app of each page. */
const pages: Record<string, (app: PageFolder) => Promise<void>> = {
  async 'docs/htpasswd-users.md'(app) {
    writeFileSync(app.file('users.htpasswd'), `alice:${hashSync('alice-secret', 4)}\n`);
    await app.start(env);
    const shown = await shownTo(app, 'alice', 'alice-secret');
    expect(shown).toEqual({ username: 'alice', roles: ['admin'] });
  },

  async 'docs/database-users.md'(app) {
    const added = app.run('add-user.mjs', {}, ['Alice', 'operator', cheapHash('alice-secret')]);
    expect([await added.ended, added.lines]).toEqual([0, []]);
    await app.start(env);
    const shown = await shownTo(app, 'ALICE', 'alice-secret');
    expect(shown).toEqual({ username: 'alice', roles: ['operator'] });
  },

  async 'docs/secrets.md'(app) {
    mkdirSync(app.file('secrets'));
    writeFileSync(app.file('secrets/admin-password'), 'choose-one\n');
    writeFileSync(app.file('secrets/signing-keys'), `${env.TASKFLOW_SECRET_KEY}\n`);
    await app.start();
    const whole = { username: 'admin', roles: ['admin'] };
    expect(await shownTo(app, 'admin', 'choose-one')).toEqual(whole);
    writeFileSync(app.file('secrets/admin-password'), 'another-one\n');
    await eventually(async () => {
      expect(await shownTo(app, 'admin', 'another-one')).toEqual(whole);
    });
  },

  async 'docs/trust-a-proxy.md'(app) {
    await app.start({ ...env, ADMIN_PASSWORD: 'choose-one' });
    const session = `${app.base}/tasks/auth/session`;
    const headers = { 'Remote-User': 'ann', 'Remote-Groups': 'sre' };
    const named = await ask(session, { headers });
    expect(named.text).toMatch(/^{"username":"ann","strategy":"proxy","roles":\["operator"\]/);
    expect((await ask(session)).status).toBe(401);
  },

  async 'docs/api-tokens.md'(app) {
    const own = { ...env, ALICE_PASSWORD: 'choose-one' };
    await app.start(own);
    const list = (token: string) =>
      ask(`${app.base}/tasks`, { headers: { authorization: `Bearer ${token}` } });
    const command = `${root}/dist/cli.js`;
    const options = ['--owner', 'staff:alice', '--role', 'operator', '--name', 'report'];
    for (const start of [
      () => app.run(command, own, ['token', 'create', './login.mjs', ...options]),
      () => app.run('create-token.mjs', own),
    ]) {
      const script = start();
      if ((await script.ended) !== 0) throw new Error(script.lines.join('\n'));
      const [token = ''] = script.lines.flatMap((line) => /^tf_\w+/.exec(line) ?? []);
      await eventually(async () => {
        expect((await list(token)).json).toMatchObject({ items: [] });
      });
    }
    expect((await list('tf_wrong')).status).toBe(401);
  },

  ...(hasSlapd && {
    async 'docs/ldap.md'(app: PageFolder) {
      const directory = await startExampleDirectory();
      try {
        await app.start({
          ...env,
          LDAP_URL: directory.url,
          LDAP_PASSWORD: 'service-secret',
          ADMIN_PASSWORD: 'choose-one',
        });
        const shown = await shownTo(app, 'ann', 'ann-secret');
        expect(shown).toEqual({ username: 'ann', roles: ['operator'] });
        const own = await shownTo(app, 'admin', 'choose-one');
        expect(own).toEqual({ username: 'admin', roles: ['admin'] });
      } finally {
        await directory.remove();
      }
    },
  }),

  async 'docs/oidc.md'(app) {
    const providerPort = String(await freePort());
    const provider = startProcess(process.execPath, ['examples/oidc/provider.js'], {
      PORT: String(app.port),
      PROVIDER_PORT: providerPort,
    });
    try {
      await waitFor(() => provider.lines.some((line) => line.startsWith('Provider ')));
      await app.start({
        ...env,
        OIDC_ISSUER: `http://127.0.0.1:${providerPort}`,
        OIDC_CLIENT_ID: 'example',
        OIDC_CLIENT_SECRET: 'example-secret',
        ADMIN_PASSWORD: 'choose-one',
      });
      const page = await ask(`${app.base}/tasks/auth/login`);
      expect(page.text).toContain('Sign in with Example');
      const shown = await shownAfterProvider(app, 'ann');
      expect(shown).toEqual({ username: 'ann', roles: ['operator'] });
      const own = await shownTo(app, 'admin', 'choose-one');
      expect(own).toEqual({ username: 'admin', roles: ['admin'] });
    } finally {
      provider.process.kill('SIGTERM');
      await provider.ended;
    }
  },
};

describe('the app of a page', () => {
  let app: PageFolder | undefined;
  afterEach(async () => {
    await app?.stop();
    app = undefined;
  });

  it.each(Object.keys(pages))(
    'does what the page says, and stops on a signal: %s',
    async (page) => {
      app = await pageFolder(page);
      await pages[page]?.(app);
      const codes = await app.stop();
      app = undefined;
      expect([...new Set(codes)]).toEqual([0]);
    },
  );

  it('has a test for every page with programs', () => {
    const found = docs.filter(({ files }) =>
      [...files.keys()].some((name) => name.endsWith('.mjs')),
    );
    const tested = [...Object.keys(pages), ...(hasSlapd ? [] : ['docs/ldap.md'])];
    expect(found.map(({ page }) => page).sort()).toEqual(tested.sort());
  });
});

describe('the TypeScript of the docs', () => {
  it('compiles', async () => {
    const folder = temporaryFolder();
    symlinkSync(`${root}/node_modules`, folder.file('node_modules'));
    for (const { page, files } of docs)
      for (const [name, code] of files)
        if (name.endsWith('.ts'))
          writeFileSync(folder.file(`${page.replaceAll(/\W/g, '-')}-${name}`), code);
    const config = { extends: `${root}/tsconfig.json`, include: ['*.ts'] };
    writeFileSync(folder.file('tsconfig.json'), JSON.stringify(config));
    writeFileSync(folder.file('package.json'), '{ "type": "module" }');
    const tsc = `${root}/node_modules/typescript/bin/tsc`;
    const compiler = startProcess(process.execPath, [tsc, '-p', folder.path]);
    expect([await compiler.ended, compiler.lines]).toEqual([0, []]);
    folder.remove();
  });
});
