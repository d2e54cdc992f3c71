import { readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from '@jest/globals';
import { hashSync } from '@node-rs/bcrypt';
import { ask, postForm } from './helpers/client.js';
import { filesOf, type PageFolder, pageFolder } from './helpers/docs-app.js';
import { temporaryFolder } from './helpers/folder.js';
import { cheapHash } from './helpers/passwords.js';
import { startProcess } from './helpers/process.js';
import { requestText, sendRaw } from './helpers/raw.js';

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
    expect(found.map(({ page }) => page).sort()).toEqual(Object.keys(pages).sort());
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
