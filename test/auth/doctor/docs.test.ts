import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { makeCa } from '../../helpers/certificates.js';
import { entries } from '../../helpers/directory.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { client, TestProvider } from '../../helpers/oidc-provider.js';
import { secretKey } from '../../helpers/passwords.js';
import { startProcess } from '../../helpers/process.js';
import { hasSlapd, Slapd } from '../../helpers/slapd.js';

const root = new URL('../../../', import.meta.url);
const require = createRequire(new URL('package.json', root));
const page = readFileSync(new URL('docs/doctor.md', root), 'utf8');
const blocks = (language: string): string[] =>
  [...page.matchAll(new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, 'gs'))].map(
    ([, text = '']) => text,
  );

/** Removes what differs from run to run. */
const comparable = (text: string): string =>
  text
    .replaceAll(/\d+ ms/g, 'N ms')
    .replaceAll(/\d\d\d\d-\d\d-\d\d/g, 'DATE')
    .replaceAll(/\d+ days/g, 'N days')
    .replaceAll(/\d+ s from/g, 'N s from')
    .replaceAll(/ {2,}/g, '  ')
    .trim();

const describeLdap = hasSlapd ? describe : describe.skip;

describeLdap('the output in docs/doctor.md', () => {
  const folder = temporaryFolder();
  const ca = makeCa(folder.path, 'ca');
  let provider: TestProvider;
  let slapd: Slapd;
  let env: Record<string, string>;
  beforeAll(async () => {
    const { file, key } = ca.issue('id.example.com', 'IP:127.0.0.1', 90);
    const tls = { cert: readFileSync(file, 'utf8'), key: readFileSync(key, 'utf8') };
    const redirectUri = 'https://jobs.example.com/auth/callback/okta';
    provider = await TestProvider.start({ redirectUri, tls });
    slapd = await Slapd.start({ entries, tls: ca.issue('ldap.example.com', 'IP:127.0.0.1', 90) });
    env = {
      ...{ TASKFLOW_SECRET_KEY: secretKey, OIDC_CLIENT_SECRET: client.secret },
      ...{ LDAP_PASSWORD: 'service-secret', NODE_EXTRA_CA_CERTS: ca.file },
    };
    const [code = ''] = blocks('js');
    writeFileSync(
      folder.file('auth.mjs'),
      code
        .replace('ldaps://ldap.example.com', slapd.tlsUrl)
        .replace('https://id.example.com', provider.issuer)
        .replace("'tasks.db'", JSON.stringify(folder.file('tasks.db')))
        .replaceAll(/'koa-taskflow([^']*)'/g, (_, path: string) =>
          JSON.stringify(require.resolve(`koa-taskflow${path}`)),
        ),
    );
    const [claims = ''] = /\{ "sub".*?\}/.exec(page) ?? [];
    writeFileSync(folder.file('claims.json'), claims);
  });
  afterAll(async () => {
    await provider?.close();
    await slapd?.remove();
    folder.remove();
  });

  it.each([
    [0, 'doctor ./auth.js'],
    [1, 'doctor ./auth.js --strategy ldap --user ann'],
    [2, 'doctor ./auth.js --strategy okta --claims claims.json'],
  ])('is that of the command: block %d', async (index, command) => {
    expect(page).toContain(`npx koa-taskflow ${command}\n`);
    const args = command
      .replace('./auth.js', folder.file('auth.mjs'))
      .replace('claims.json', folder.file('claims.json'))
      .split(' ');
    const cli = new URL('dist/cli.js', root).pathname;
    const child = startProcess(process.execPath, [cli, ...args], env);
    await child.ended;
    for (const secret of [secretKey, client.secret, 'service-secret'])
      expect(child.lines.join('\n')).not.toContain(secret);
    const shown = child.lines
      .join('\n')
      .replaceAll(slapd.tlsUrl, 'ldaps://ldap.example.com')
      .replaceAll(provider.issuer, 'https://id.example.com')
      .replaceAll('IP Address:127.0.0.1', 'DNS:NAME');
    const documented = (blocks('text')[index] ?? '').replaceAll(/DNS:[\w.]+/g, 'DNS:NAME');
    expect(comparable(shown)).toBe(comparable(documented));
  });
});
