import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { apiTokens } from '../../src/auth/strategies/api-tokens/api-tokens.js';
import { multiUser } from '../../src/auth/strategies/multi-user.js';
import { StrategyRegistry } from '../../src/auth/strategies/registry.js';
import { tokenCommand } from '../../src/auth/token-command.js';
import { TaskManager } from '../../src/manager.js';
import { watchSecret } from '../helpers/canaries.js';
import { ask } from '../helpers/client.js';
import { temporaryFolder } from '../helpers/folder.js';
import { type LoginApp, serveLogin } from '../helpers/login-app.js';
import { cheapHash, password, secretKey } from '../helpers/passwords.js';
import { startProcess } from '../helpers/process.js';
import { waitFor } from '../helpers/wait.js';

const dist = (file: string): string =>
  JSON.stringify(new URL(`../../dist/${file}`, import.meta.url).href);
const cli = new URL('../../dist/cli.js', import.meta.url);
const hash = cheapHash(password);

/** A module that exports a login with API tokens on a task database file. */
const moduleOf = (database: string): string => `
import { createAuth, multiUser, StrategyRegistry } from ${dist('auth/index.js')};
import { apiTokens } from ${dist('auth/strategies/api-tokens/api-tokens.js')};
import { TaskManager } from ${dist('index.js')};
const tasks = new TaskManager({ database: ${JSON.stringify(database)}, logger: false });
const strategies = new StrategyRegistry()
  .register('staff', multiUser([['ann', ${JSON.stringify(hash)}, { roles: ['operator'] }]]))
  .register('plain', { authenticate_user: () => false })
  .register('tokens', apiTokens());
const opened = new Promise((resolve) => setTimeout(resolve, process.env.OPENS_AFTER ?? 0));
const later = (call) => async (...args) => opened.then(() => call(...args));
const slow = ['get', 'list'].map((name) => [name, later(tasks.store[name].bind(tasks.store))]);
const store = Object.assign(Object.create(tasks.store), Object.fromEntries(slow));
export const auth = createAuth({
  ...{ strategies, secretKey: process.env.KEY, store },
});
`;

describe('npx koa-taskflow token', () => {
  const folder = temporaryFolder();
  const file = folder.file('auth.mjs');
  const other = folder.file('other.mjs');
  const tasks = new TaskManager({ database: folder.file('tasks.db'), logger: false });
  let app: LoginApp;
  beforeAll(async () => {
    writeFileSync(file, moduleOf(folder.file('tasks.db')));
    writeFileSync(other, 'export const auth = {};');
    const strategies = new StrategyRegistry()
      .register('staff', multiUser([['ann', hash, { roles: ['operator'] }]]))
      .register('tokens', apiTokens());
    await tasks.store.get('nothing');
    app = await serveLogin({ strategies, store: tasks.store });
  });
  afterAll(async () => {
    await app.close();
    await tasks.stop({ timeout: 0 });
    folder.remove();
  });

  /** Milliseconds that the store of the command takes to open. */
  let opensAfter = 0;
  /** Runs the command. `output` has the lines of standard output, `lines` all lines. */
  const run = async (...args: string[]) => {
    const child = startProcess(process.execPath, [cli.pathname, 'token', ...args], {
      KEY: secretKey,
      OPENS_AFTER: String(opensAfter),
    });
    return { code: await child.ended, output: child.output, lines: child.lines };
  };
  const who = async (token: string): Promise<unknown> => {
    const { json } = await ask(app.url, { headers: { Authorization: `Bearer ${token}` } });
    return (json as { name: unknown }).name;
  };
  const create = async (...args: string[]): Promise<{ token: string; id: string }> => {
    const { code, output, lines } = await run(...args);
    expect([code, output]).toEqual([0, [expect.stringMatching(/^tf_\w{49}$/)]]);
    const [token = ''] = output;
    watchSecret(token);
    const text = lines.find((line) => line.startsWith('id '));
    return { token, id: /^id ([0-9a-f]{32}), /.exec(text ?? '')?.[1] ?? '' };
  };

  it('creates, lists, rotates and revokes tokens of the running app', async () => {
    const owner = ['--owner', 'staff:ann', '--role', 'operator'];
    const one = await create('create', file, ...owner, '--name', 'report');
    await waitFor(async () => (await who(one.token)) === 'staff:ann');
    const two = await create('rotate', file, one.id, '--keep-old-for', '600');
    const deploy = await create('create', file, '--service', 'deploy', '--expires-in', '3600');
    await create('create', file, '--owner', 'plain:bob');
    const { output, lines } = await run('list', file);
    expect(lines.join('\n')).not.toContain('tf_');
    const lineOf = (id: string): string => output.find((line) => line.startsWith(id)) ?? '';
    expect(lineOf(one.id)).toMatch(
      new RegExp(`report\\tstaff:ann\\toperator\\tcreated .*\\treplaced by ${two.id}$`),
    );
    expect(lineOf(one.id)).toContain('from 127.0.0.1');
    expect(lineOf(deploy.id)).toMatch(/deploy\tservice:deploy\tread only\t.*\tnever used$/);
    expect(output).toHaveLength(4);
    expect(output.find((line) => line.includes('plain:bob'))).toMatch(/\towner not checked$/);
    expect((await run('list', file, '--service', 'deploy')).output).toHaveLength(1);
    await waitFor(async () => (await who(two.token)) === 'staff:ann');
    expect((await run('revoke', file, two.id)).output).toEqual([`Revoked ${two.id} (report).`]);
    await waitFor(async () => (await who(two.token)) === null);
    const audit = await app.auth.audit?.({ action: 'token_revoked' });
    expect(audit?.items).toMatchObject([
      { outcome: 'done', detail: { tokenId: two.id.slice(0, 6), owner: 'staff:ann', via: 'cli' } },
    ]);
  });

  it('writes the log of the app to standard error', async () => {
    const { output, lines } = await run('create', file, '--service', 'logs');
    expect(output).toHaveLength(1);
    expect(lines.some((line) => line.includes('"event":"sys_startup"'))).toBe(true);
  });

  it('waits for a database that opens slowly', async () => {
    opensAfter = 2500;
    await create('create', file, '--service', 'slow');
    opensAfter = 0;
  });

  it.each([
    [['destroy', file], /must be create, list, rotate or revoke/],
    [['list'], /pass the module that exports auth/],
    [['revoke', file], /pass the id of one token/],
    [['list', file, 'more'], /takes no argument after the module/],
    [['list', file, '--role', 'admin'], /token list has no option --role/],
    [['list', folder.file('none.js')], /does not exist/],
    [['list', other], /must export the login/],
  ])('refuses the arguments %j', async (args, message) => {
    await expect(tokenCommand(args)).rejects.toThrow(message);
  });

  it.each([
    [['revoke', file, 'a'.repeat(32)], /no token has this id/],
    [['create', file], /pass the owner of the token/],
    [['create', file, '--owner', 'staff:zoe'], /The owner staff:zoe does not exist/],
    [['create', file, '--service', 'a', '--expires-in', '1h'], /a whole number of seconds/],
  ])('fails with the arguments %j', async (args, message) => {
    const { code, lines } = await run(...args);
    expect([code, lines.join('\n')]).toEqual([1, expect.stringMatching(message)]);
  });
});
