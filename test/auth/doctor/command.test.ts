import { writeFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from '@jest/globals';
import { doctorCommand } from '../../../src/auth/doctor/command.js';
import { dryRun, explanationText } from '../../../src/auth/doctor/dry-run.js';
import { database } from '../../../src/auth/strategies/database.js';
import { multiUser } from '../../../src/auth/strategies/multi-user.js';
import { StrategyRegistry } from '../../../src/auth/strategies/registry.js';
import { watchSecret } from '../../helpers/canaries.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { secretKey } from '../../helpers/passwords.js';
import { startProcess } from '../../helpers/process.js';

const dist = (file: string): string =>
  JSON.stringify(new URL(`../../../dist/${file}`, import.meta.url).href);
const cli = new URL('../../../dist/cli.js', import.meta.url);
const folder = temporaryFolder();
afterAll(() => folder.remove());

const hash = `$scrypt$ln=15,r=8,p=3$${'B'.repeat(22)}$${'A'.repeat(43)}`;
const bcrypt = '$2y$12$BE7BGUqWiap13TVTrMR9XelWkRszoy2Kw5oUBVye.g9d7HVCrRbpe';
const databasePassword = 'hunter2/of:the@database';
const tokenOfVault = 'vault-token-of-the-environment';
watchSecret(databasePassword);

let files = 0;
/** Writes a module whose login has these strategies. Returns its path. */
function moduleWith(strategies: string, options = ''): string {
  files += 1;
  const file = folder.file(`auth-${files}.mjs`);
  writeFileSync(
    file,
    `
import { createAuth, memoryStore, multiUser, StrategyRegistry } from ${dist('auth/index.js')};
import { cached, secretFile } from ${dist('auth/index.js')};
import { database } from ${dist('auth/strategies/database.js')};
import { htpasswdFile } from ${dist('auth/strategies/htpasswd.js')};
import { trustedHeader } from ${dist('auth/strategies/trusted-header/trusted-header.js')};
import { apiTokens } from ${dist('auth/strategies/api-tokens/api-tokens.js')};
const { KEY: secretKey } = process.env;
const strategies = new StrategyRegistry()${strategies};
export const auth = createAuth({ strategies, secretKey, store: memoryStore(), ${options} });
`,
  );
  return file;
}

interface Output {
  code: number | string;
  /** The lines of standard output and standard error, without those of the app's log. */
  lines: string[];
  /** The lines of standard output. */
  output: string[];
  text: string;
}

async function run(...args: string[]): Promise<Output> {
  const env = {
    ...{ KEY: secretKey, VAULT_TOKEN: tokenOfVault },
    DATABASE_URL: `postgres://app:${encodeURIComponent(databasePassword)}@db.example/app`,
  };
  const child = startProcess(process.execPath, [cli.pathname, 'doctor', ...args], env);
  const code = await child.ended;
  const all = child.lines.join('\n');
  for (const secret of [secretKey, hash, bcrypt, databasePassword, tokenOfVault])
    expect(all).not.toContain(secret);
  const lines = child.lines.filter((line) => !line.startsWith('{"level"'));
  return { code, lines, output: child.output, text: lines.join('\n') };
}

const users = `multiUser([['ann', ${JSON.stringify(hash)}, { roles: ['operator'] }]])`;

describe('npx koa-taskflow doctor', () => {
  it('shows the options of the login and each strategy on one screen', async () => {
    writeFileSync(folder.file('password'), hash);
    const passwordFile = JSON.stringify(folder.file('password'));
    const file = moduleWith(`
      .register('staff', ${users})
      .register('admin', multiUser([['root', secretFile(${passwordFile})]]))
      .register('db', cached(database(() => undefined), { seconds: 5 }))
      .register('proxy', trustedHeader({ proxies: ['10.0.0.7', 'unix'] }))
      .register('tokens', apiTokens())
      .register('own', { authenticate_user: () => false, label: 'Own users' })`);
    const { code, text } = await run(file);
    expect(text.replaceAll(/\d+ ms/g, 'N ms').replaceAll(/ {2,}/g, '  ')).toBe(
      `login at /tasks
  ok  secretKey  keys: 1
  ok  store  answers after N ms
  ok  cookie  secure: auto, sameSite: lax
  ok  publicUrl  not set: the app uses the URL of each request

staff (password)
  ok  users  1

admin (password)
  ok  users  1
  ok  password of 'root'  can be read

db (password)
  ok  find  answers, and does not know a random name

proxy (request)
  ok  header  remote-user
  ok  trusted peers  10.0.0.7, unix
  ok  sign-out  the proxy decides, because logoutUrl is not set

tokens (request)
  ok  store  the persistent store of the login; tokens: 0

own (password, "Own users")
  ok  check  nothing to check

0 faults, 0 warnings`,
    );
    expect(code).toBe(0);
  });

  it('prints one line of JSON, without the log of the app', async () => {
    writeFileSync(folder.file('weak'), `ann:${bcrypt}\nann:${bcrypt}\nbob:$apr1$x$y\n`);
    const file = moduleWith(
      `.register('file', htpasswdFile(${JSON.stringify(folder.file('weak'))}))`,
    );
    const { code, output } = await run(file, '--json', '--strategy', 'file');
    expect(output).toHaveLength(1);
    expect(JSON.parse(output[0] ?? '')).toEqual({
      ...{ faults: 0, warnings: 2 },
      sections: [
        {
          ...{ name: 'file', kind: 'password', label: 'file' },
          findings: expect.arrayContaining([
            {
              ...{ mark: 'ok', what: 'file' },
              found: `${folder.file('weak')} is readable; users: 1`,
            },
            {
              ...{ mark: 'warning', what: 'file', todo: 'correct line 2' },
              found: expect.stringContaining('names of the htpasswd file are repeated'),
            },
          ]),
        },
      ],
    });
    expect(code).toBe(0);
  });

  it('exits with 1 for a fault, and says what to do', async () => {
    const strategies = `.register('broken', {
      authenticate_user: () => false,
      check: async () => { throw new Error('the server is away'); },
    })
    .register('wide', trustedHeader({ proxies: ['10.0.0.0/8'] }))
    .register('any', database(() => ${JSON.stringify(hash)}))
    .register('none', htpasswdFile(${JSON.stringify(folder.file('none'))}))`;
    writeFileSync(folder.file('none'), 'bob:$apr1$x$y\n');
    const { code, text } = await run(moduleWith(strategies, 'throttle: false'));
    expect(text).toMatch(
      /fault +check +fails after \d+ ms: the server is away\n +→ start the server/,
    );
    expect(text).toMatch(
      /warning throttle +nothing limits how often a client can guess passwords\n +→ remove/,
    );
    expect(text).toMatch(/warning trusted peers +10\.0\.0\.0\/8\n +→ name the proxies/);
    expect(text).toMatch(/fault +find +returns a user for a random name\n +→ return undefined/);
    expect(text).toMatch(/fault +file +\S+ has no user who can sign in\n/);
    expect(text).toMatch(/\n3 faults, 3 warnings$/);
    expect(code).toBe(1);
  });

  it('warns of what a restart loses', async () => {
    const { text } = await run(moduleWith(`.register('s', ${users})`, 'store: undefined'));
    expect(text).toMatch(/warning store +not set: sessions and pinned names/);
    const random = await run(moduleWith(`.register('s', ${users})`, 'secretKey: undefined'));
    expect(random.text).toMatch(/warning secretKey +each process makes a random key/);
    expect(random.code).toBe(0);
  });

  it('shows the findings of your own strategy, and refuses other answers', async () => {
    const own = (findings: string): string => `.register('own', {
      authenticate_user: () => false,
      doctor: ({ name, urlOf }) => ${findings},
    })`;
    const found = "name + ' at ' + urlOf('/x')";
    const right = `[{ mark: 'warning', what: 'mine', found: ${found}, todo: 'do it' }]`;
    const shown = await run(moduleWith(own(right), "publicUrl: 'https://jobs.example'"));
    expect(shown.text).toMatch(/warning mine +own at https:\/\/jobs\.example\/tasks\/x\n +→ do it/);
    const wrong = ["'text'", "[{ mark: 'fault', what: 'x', found: 'y' }]", '[null]'];
    const strategies = wrong.map((each, n) => own(each).replace("'own'", `'own${n}'`)).join('');
    const { code, text } = await run(moduleWith(strategies));
    expect(text.match(/did not return a list of findings/g)).toHaveLength(3);
    expect(code).toBe(1);
  });

  it('shows no secret, even in errors of your own code', async () => {
    const strategies = `.register('own', {
      authenticate_user: () => false,
      check() { throw new Error('no connection to ' + process.env.DATABASE_URL + '\\u001b[2J'); },
      doctor: () => [
        { mark: 'ok', what: 'token', found: process.env.VAULT_TOKEN },
        { mark: 'ok', what: 'key', found: process.env.KEY },
        { mark: 'ok', what: 'url', found: 'redis://user:a/b@c?d#e@host:6379/0' },
        { mark: 'ok', what: 'raw', found: ${JSON.stringify(databasePassword)} },
      ],
    })`;
    const { text } = await run(moduleWith(strategies));
    expect(text).toContain('no connection to postgres://[redacted]@db.example/app\ufffd[2J');
    expect(text).toContain('redis://[redacted]@host:6379/0');
    expect(text.match(/\[redacted\]\n/g)).toHaveLength(3);
  });

  it.each([480, 3975, 20_000])('shows no part of a secret at character %d', async (start) => {
    const long = (secret: string): string =>
      `check() { throw new Error('-'.repeat(${start}) + ${secret}); }`;
    const strategies = ['process.env.VAULT_TOKEN', "'redis://app:pass-of-redis@host'"].map(
      (secret, n) => `.register('own${n}', { authenticate_user: () => false, ${long(secret)} })`,
    );
    const { text } = await run(moduleWith(strategies.join('')));
    expect(text).not.toMatch(/vault|app:|pass-of/);
    expect(text.length).toBeLessThan(9000);
  });

  it('says why the login cannot be created', async () => {
    const { code, text } = await run(moduleWith(`.register('s', ${users})`, "path: 'x'"));
    expect(text).toMatch(/fault +module +path is "x"/);
    expect(code).toBe(1);
  });
});

describe('the dry run', () => {
  const registry = new StrategyRegistry()
    .register(
      'staff',
      multiUser([
        ['ann', hash, { roles: ['operator'] }],
        ['root', hash],
      ]),
    )
    .register(
      'db',
      database((name) => (name === 'eve' ? hash : undefined)),
    )
    .register('own', {
      authenticate_user: () => false,
      explain: ({ username }) => ({
        username,
        list: { name: 'teams', texts: ['a', 'b'] },
        rows: [{ row: 'a', roles: ['viewer'] }],
        roles: username === 'bob' ? false : ['viewer'],
        reason: username === 'bob' ? 'on holiday' : undefined,
      }),
    })
    .register('roleless', {
      authenticate_user: () => false,
      find_user: () => ({ version: '1' }),
    })
    .register('plain', { authenticate_user: () => false });

  it.each([
    [['staff', 'ann'], 'user   ann\n  roles  operator\n'],
    [['staff', 'root'], 'user   root\n  roles  admin\n'],
    [['staff', 'ghost'], 'rejected  there is no such user, or no role lets the user in\n'],
    [['db', 'eve'], 'user   eve\n  roles  none: the user may only read\n'],
    [['own', 'ann'], 'user   ann\n  teams  a\n         b\n  rows   a → viewer\n  roles  viewer\n'],
    [['own', 'bob'], 'rejected  on holiday\n'],
  ])('shows what a user may do: %j', async ([name = '', username = ''], text) => {
    const shown = explanationText(name, await dryRun(registry, name, { username }));
    expect(shown).toContain(`Dry run of ${name}; no password was checked\n`);
    expect(shown).toContain(text);
  });

  it.each([
    [['plain', 'ann'], 'this strategy cannot tell the roles of a user without a login'],
    [['roleless', 'ann'], 'find_user returns no roles, so only a login shows them'],
    [['none', 'ann'], "there is no strategy 'none'; use one of staff, db"],
  ])('says why it cannot answer: %j', async ([name = '', username = ''], text) => {
    await expect(dryRun(registry, name, { username })).rejects.toThrow(text);
  });

  it('prints one line of JSON, and exits with 1 if the user is rejected', async () => {
    const file = moduleWith(`.register('staff', ${users})`);
    const explain = (user: string) => run(file, '--strategy', 'staff', '--user', user, '--json');
    const ann = { strategy: 'staff', username: 'ann', roles: ['operator'] };
    expect(await explain('ann')).toMatchObject({ code: 0, lines: [JSON.stringify(ann)] });
    const ghost = { strategy: 'staff', roles: false, reason: 'unknown_user' };
    expect(await explain('ghost')).toMatchObject({ code: 1, lines: [JSON.stringify(ghost)] });
  });

  it('shows no part of a file of claims that is not JSON', async () => {
    const claims = folder.file('claims.json');
    writeFileSync(claims, `${tokenOfVault} {`);
    const file = moduleWith(`.register('staff', ${users})`);
    const { code, text } = await run(file, '--strategy', 'staff', '--claims', claims);
    expect([code, text]).toEqual([1, expect.stringContaining('claims.json is not JSON')]);
  });
});

describe('the arguments of doctor', () => {
  it.each([
    [[], /pass the module that exports auth: doctor \.\/auth\.js/],
    [['a.js', 'b.js'], /pass the module that exports auth/],
    [['a.js', '--user', 'ann'], /a dry run needs the name of a strategy/],
    [['a.js', '--password', 'x'], /Unknown option '--password'/],
    [['a.js', '--url', 'jobs.example'], /--url must be the http\(s\) URL/],
    [['a.js', '--url', 'ftp://jobs.example'], /--url must be the http\(s\) URL/],
    [['a.js', '--url', 'https://a:b@jobs.example'], /without a password/],
  ])('are refused: %j', async (args, message) => {
    await expect(doctorCommand(args)).rejects.toThrow(message);
  });

  it('must name a module that exists and exports the login', async () => {
    const other = folder.file('other.mjs');
    writeFileSync(other, 'export const auth = {};');
    expect((await run(other)).text).toContain('must export the login');
    expect((await run(folder.file('none.mjs'))).text).toContain('does not exist');
    writeFileSync(other, 'process.exit(3)');
    const { code, text } = await run(other);
    expect([code, text]).toEqual([1, expect.stringContaining('ended the process')]);
  });
});
