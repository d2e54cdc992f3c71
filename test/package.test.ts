import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { temporaryFolder } from './helpers/folder.js';
import { bcryptLine } from './helpers/htpasswd.js';
import { startProcess } from './helpers/process.js';

/** The packed package in the project of a user who has installed none of the optional packages. */
const project = temporaryFolder();
const { dependencies, peerDependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as {
  dependencies: Record<string, string>;
  peerDependencies: Record<string, string>;
};

beforeAll(() => {
  const options = { encoding: 'utf8' } as const;
  const pack = ['pack', '--ignore-scripts', '--silent', '--pack-destination', project.path];
  const archive = execFileSync('npm', pack, options).trim().split('\n').at(-1) ?? '';
  const installed = project.file('node_modules/koa-taskflow');
  mkdirSync(installed, { recursive: true });
  execFileSync('tar', ['-xzf', project.file(archive), '-C', installed, '--strip-components=1']);
  for (const name of [...Object.keys(dependencies), 'koa']) {
    const link = project.file(`node_modules/${name}`);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(`${process.cwd()}/node_modules/${name}`, link);
  }
});
afterAll(() => project.remove());

/** Runs a program in the project. Resolves to its lines. */
async function run(program: string): Promise<string[]> {
  const file = project.file('program.mjs');
  writeFileSync(file, program);
  const child = startProcess(process.execPath, ['--disable-warning=ExperimentalWarning', file]);
  await child.ended;
  return child.lines;
}

it.each([
  'koa-taskflow',
  'koa-taskflow/auth',
  'koa-taskflow/client',
  ...['api-tokens', 'database', 'htpasswd', 'ldap', 'oidc', 'trusted-header'].map(
    (name) => `koa-taskflow/strategies/${name}`,
  ),
])('can be imported without the optional packages: %s', async (name) => {
  const program = `console.log(Object.keys(await import('${name}')).length > 0)`;
  expect(await run(program)).toEqual(['true']);
});

it.each([
  ['ldap', "ldap({ url: 'ldap://127.0.0.1', bindDN: 'uid={username}' })", ['ldapts']],
  [
    'oidc',
    "oidc({ issuer: 'https://id.example', clientId: 'a', clientSecret: 'b', roles: [] })",
    ['openid-client'],
  ],
  ['htpasswd', "htpasswdFile('FILE')", ['@node-rs/bcrypt']],
])(
  'names the missing package and its versions when it is called: %s',
  async (name, call, missing) => {
    const users = project.file('users');
    writeFileSync(users, `${bcryptLine('ann', 'secret')}\n`);
    const program = `
    const strategies = await import('koa-taskflow/strategies/${name}');
    const { ldap, oidc, htpasswdFile } = strategies;
    try {
      ${call.replace('FILE', users)};
    } catch ({ message }) {
      console.log(message);
    }`;
    const text = (await run(program)).join('\n');
    expect(text).toContain('npm install');
    for (const each of missing) {
      expect(text).toContain(each);
      expect(text).toContain(peerDependencies[each]);
    }
  },
);
