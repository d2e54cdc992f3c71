import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ask, logIn } from '../helpers/client.js';
import { cheapHash, password, secretKey } from '../helpers/passwords.js';
import { type Child, startScript } from '../helpers/process.js';
import { type SecretFolder, secretFolder } from '../helpers/secret-folder.js';
import { promptly, waitFor } from '../helpers/wait.js';

describe('processes that follow the same secret files', () => {
  let folder: SecretFolder;
  let children: Child[];

  const web = async (): Promise<string> => {
    const child = startScript('secret-login.js', folder.file('password'), folder.file('key'));
    children.push(child);
    return waitFor(() => child.lines.find((line) => line.startsWith('http')));
  };
  const nameAt = async (url: string, headers: Record<string, string>): Promise<unknown> =>
    ((await ask(url, { headers })).json as { name: unknown }).name;
  const headerOf = ({ cookie }: { cookie: string }): string => cookie.split(/[=.]/)[1] ?? '';

  beforeEach(() => {
    folder = secretFolder();
    children = [];
    folder.mount({ password: `${cheapHash(password)}\n`, key: `${secretKey}\n` });
  });
  afterEach(async () => {
    for (const { process: child } of children) child.kill('SIGKILL');
    await Promise.all(children.map(({ ended }) => ended));
    folder.remove();
  });

  it('accept the sessions of each other while the key is rotated', async () => {
    const urls = await Promise.all([web(), web()]);
    const bases = urls.map((url) => `${url}/tasks`);
    const first = await logIn(bases[0] ?? '');
    folder.mount({ password: cheapHash(password), key: `${secretKey}-new` });
    const signing = new Set<number>();
    const refused: unknown[] = [];
    // Each process signs in a user, and both accept the session at once.
    await waitFor(async () => {
      for (const [n, base] of bases.entries()) {
        const session = await logIn(base);
        if (headerOf(session) !== headerOf(first)) signing.add(n);
        for (const url of urls)
          if ((await nameAt(url, session)) !== 'admin') refused.push([n, url]);
      }
      return signing.size === 2;
    }, promptly);
    expect(refused).toEqual([]);
    for (const url of urls) expect(await nameAt(url, first)).toBe('admin');
  });

  it('end the sessions of a user whose password is rotated', async () => {
    const urls = await Promise.all([web(), web()]);
    const session = await logIn(`${urls[0]}/tasks`);
    folder.mount({ password: cheapHash('another'), key: secretKey });
    for (const url of urls)
      await waitFor(async () => (await nameAt(url, session)) === null, promptly);
    const second = await logIn(`${urls[1]}/tasks`, 'admin', 'another');
    await waitFor(async () => (await nameAt(urls[0] ?? '', second)) === 'admin', promptly);
  });

  it('end on their own if nothing but the secrets is left', async () => {
    const files = [folder.file('password'), folder.file('key')];
    const child = startScript('secret-login.js', ...files, 'once');
    children.push(child);
    expect(await child.ended).toBe(0);
    expect(child.lines).toEqual(['created']);
  });
});
