import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createAuth } from '../../src/auth/create-auth.js';
import { unpinCommand } from '../../src/auth/unpin-command.js';
import { TaskManager } from '../../src/manager.js';
import { temporaryFolder } from '../helpers/folder.js';
import { client, TestProvider } from '../helpers/oidc-provider.js';
import { attachOidc, redirectUri } from '../helpers/oidc-strategy.js';
import { secretKey } from '../helpers/passwords.js';
import { startProcess } from '../helpers/process.js';

const dist = (file: string): string =>
  JSON.stringify(new URL(`../../dist/${file}`, import.meta.url).href);
const cli = new URL('../../dist/cli.js', import.meta.url);

/** A module that exports a login at the provider, on a task database file. */
const moduleOf = (database: string, issuer: string): string => `
import { createAuth, StrategyRegistry } from ${dist('auth/index.js')};
import { oidc } from ${dist('auth/strategies/oidc/index.js')};
import { TaskManager } from ${dist('index.js')};
const tasks = new TaskManager({ database: ${JSON.stringify(database)}, logger: false });
const okta = oidc({
  ...{ issuer: '${issuer}', clientId: '${client.id}', clientSecret: process.env.CLIENT_SECRET },
  roles: ['viewer'],
});
const strategies = new StrategyRegistry()
  .register('okta', okta)
  .register('plain', { authenticate_user: () => false });
export const auth = createAuth({
  ...{ strategies, secretKey: process.env.KEY, store: tasks.store },
});
`;

describe('npx koa-taskflow unpin', () => {
  const folder = temporaryFolder();
  const file = folder.file('auth.mjs');
  const tasks = new TaskManager({ database: folder.file('tasks.db'), logger: false });
  let provider: TestProvider;
  beforeAll(async () => {
    provider = await TestProvider.start({ redirectUri });
    writeFileSync(file, moduleOf(folder.file('tasks.db'), provider.issuer));
    await tasks.store.get('nothing');
  });
  afterAll(async () => {
    await provider.close();
    await tasks.stop({ timeout: 0 });
    folder.remove();
  });

  const run = async (...args: string[]): Promise<[code: number | string, text: string]> => {
    const env = { KEY: secretKey, CLIENT_SECRET: client.secret };
    const child = startProcess(process.execPath, [cli.pathname, 'unpin', ...args], env);
    const code = await child.ended;
    return [code, (code === 0 ? child.output : child.lines).join('\n')];
  };

  it('lets another user of the provider use a name, and records it', async () => {
    provider.accounts.set('first', { preferred_username: 'sam' });
    provider.accounts.set('second', { preferred_username: 'sam' });
    const app = attachOidc(provider, { roles: ['viewer'] }, { store: tasks.store });
    expect(await app.signIn('first')).toMatchObject({ ok: true });
    expect(await app.signIn('second')).toMatchObject({ ok: false, reason: 'name_taken' });
    const [code, text] = await run(file, 'okta', 'Sam');
    expect(text).toBe(
      'Unpinned Sam of okta. The next account that signs in with this name gets it.',
    );
    expect(code).toBe(0);
    expect(await app.signIn('second')).toMatchObject({ ok: true });
    const same = { strategies: ['admin', 'any'], store: tasks.store, secretKey } as const;
    const audit = await createAuth({ ...same, logger: false }).audit?.({});
    const rows = audit?.items.map(({ action, actor, strategy, detail }) => ({
      ...{ action, actor, strategy, detail },
    }));
    const pinned = { action: 'name_pinned', actor: 'sam', strategy: 'okta' };
    expect(rows).toEqual([
      { ...pinned, detail: { strategy: 'okta', username: 'sam' } },
      { action: 'name_unpinned', detail: { strategy: 'okta', username: 'Sam' } },
      { ...pinned, detail: { strategy: 'okta', username: 'sam' } },
    ]);
  });

  it.each([
    [[file, 'okta', 'ghost'], 0, 'ghost of okta is not pinned to an account. Nothing has changed.'],
    [
      [file, 'plain', 'sam'],
      1,
      "'plain' is not a strategy that pins names. Strategies that pin names: okta.",
    ],
    [
      [file, 'other', 'sam'],
      1,
      "'other' is not a strategy that pins names. Strategies that pin names: okta.",
    ],
  ])('answers the arguments %j', async (args, code, text) => {
    expect(await run(...args)).toEqual([code, expect.stringContaining(text)]);
  });

  it.each([
    [[], /pass the module that exports auth, the name of the strategy/],
    [[file, 'okta'], /the name of the user/],
    [[file, 'okta', 'sam', 'more'], /unpin \.\/auth\.js okta ann@example\.com/],
    [[file, 'okta', 'a\nb'], /must be 1 to 256 printable characters/],
  ])('refuses the arguments %j', async (args, message) => {
    await expect(unpinCommand(args)).rejects.toThrow(message);
  });
});
