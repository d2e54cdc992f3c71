import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ask, logIn, postForm } from '../helpers/client.js';
import { freePort } from '../helpers/free-port.js';
import { cheapHash, secretKey } from '../helpers/passwords.js';
import { type Child, startProcess } from '../helpers/process.js';
import { type SecretFolder, secretFolder } from '../helpers/secret-folder.js';
import { promptly, waitFor } from '../helpers/wait.js';

const page = readFileSync(new URL('../../docs/lost-access.md', import.meta.url), 'utf8');
const [, example = ''] = /```js\n([\s\S]*?)```/.exec(page) ?? [];
const newKey = `new-${secretKey}`;
const cheap = 'a password for emergencies';

describe('the emergency administrator of the docs', () => {
  let folder: SecretFolder;
  let child: Child;
  let base: string;

  /** Starts the example of the page, whose provider does not answer. */
  async function start(): Promise<void> {
    const port = await freePort();
    const program = example
      .replace('https://example.okta.com', `http://127.0.0.1:${port}`)
      .replaceAll('/run/secrets/', folder.file('/'))
      .replace("'tasks.db'", JSON.stringify(folder.file('tasks.db')))
      .replace('app.listen(3000,', 'app.listen(0,');
    const told = `${program}
      server.once('listening', () => console.log('PORT ' + server.address().port));`;
    child = startProcess(process.execPath, ['--input-type=module', '-e', told], {
      OIDC_CLIENT_SECRET: 'a secret of the provider',
    });
    const [, listening] = await waitFor(
      () => /PORT (\d+)/.exec(child.lines.join('\n')) ?? undefined,
    );
    base = `http://127.0.0.1:${listening}/tasks`;
  }
  async function stop(): Promise<void> {
    child.process.kill('SIGKILL');
    await child.ended;
  }
  const hasSession = async (headers: { cookie: string }): Promise<boolean> =>
    (await ask(`${base}/auth/session`, { headers })).status === 200;
  const signIn = (password = cheap) => logIn(base, 'emergency', password);

  beforeEach(async () => {
    folder = secretFolder();
    folder.mount({ 'emergency-hash': cheapHash(cheap), 'signing-keys': `${secretKey}\n` });
    await start();
  });
  afterEach(async () => {
    await stop();
    folder.remove();
  });

  it('signs in with a form while the provider is down', async () => {
    const first = await ask(`${base}/auth/login`);
    expect([first.status, first.headers.get('location')]).toEqual([302, '/tasks/auth/start/okta']);
    const unavailable = await ask(`${base}/auth/start/okta`);
    const form = await ask(`${base}/auth/login?form`);
    expect([unavailable.status, form.status]).toEqual([503, 200]);
    for (const { text } of [unavailable, form]) expect(text).toContain('<form method="post"');
    expect(await hasSession(await signIn())).toBe(true);
  });

  it('gets a new password from the command, which ends the sessions of the old one', async () => {
    const session = await signIn();
    const password = 'bXkgbmV3IHBhc3N3b3JkIGZvciBlbWVyZ2VuY2llcw==';
    const hash = execFileSync(process.execPath, ['dist/cli.js', 'hash'], {
      input: `${password}\n`,
      encoding: 'utf8',
    });
    folder.mount({ 'emergency-hash': hash, 'signing-keys': secretKey });
    await waitFor(async () => !(await hasSession(session)), promptly);
    expect(await hasSession(await signIn(password))).toBe(true);
    const fields = { username: 'emergency', password: cheap };
    expect((await postForm(`${base}/auth/login`, fields)).status).toBe(401);
  });

  it('is no longer locked out when a new key is the first of two, and keeps sessions', async () => {
    const session = await signIn();
    const tryWrong = (password: string) =>
      postForm(`${base}/auth/login`, { username: 'emergency', password });
    await waitFor(async () => (await tryWrong('wrong')).status === 429);
    expect((await tryWrong(cheap)).status).toBe(429);
    folder.mount({
      'emergency-hash': cheapHash(cheap),
      'signing-keys': `${newKey}\n${secretKey}\n`,
    });
    await waitFor(async () => (await tryWrong(cheap)).status === 303, promptly);
    expect(await hasSession(session)).toBe(true);
  });

  it('loses every session if the processes start again with another key alone', async () => {
    const session = await signIn();
    folder.mount({ 'emergency-hash': cheapHash(cheap), 'signing-keys': newKey });
    await waitFor(() => child.lines.some((line) => line.includes('the secret keys have changed')));
    // A process that keeps running still accepts the old key, as the page says.
    expect(await hasSession(session)).toBe(true);
    await stop();
    await start();
    expect(await hasSession(session)).toBe(false);
    expect(await hasSession(await signIn())).toBe(true);
  });
});
