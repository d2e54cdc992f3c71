import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ask, logIn, postJson } from '../helpers/client.js';
import { temporaryFolder } from '../helpers/folder.js';
import { cheapHash, password, secretKey } from '../helpers/passwords.js';
import { type Child, startScript } from '../helpers/process.js';
import { openStream } from '../helpers/stream.js';
import { promptly, waitFor } from '../helpers/wait.js';

describe('web processes on one file', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let children: Child[];
  const users = [`admin ${cheapHash(password)}`, `vera ${cheapHash('three')}`];

  const web = async (...names: string[]): Promise<string> => {
    const child = startScript(
      'web.js',
      folder.file('tasks.db'),
      secretKey,
      ...(names.length > 0 ? names : users),
    );
    children.push(child);
    return `${await waitFor(() => child.lines.find((line) => line.startsWith('http')))}/tasks`;
  };
  const kill = async (child: Child): Promise<void> => {
    child.process.kill('SIGKILL');
    await child.ended;
  };
  const statusAt = async (base: string, headers: Record<string, string>): Promise<number> =>
    (await ask(base, { headers })).status;

  beforeEach(() => {
    folder = temporaryFolder();
    children = [];
  });
  afterEach(async () => {
    await Promise.all(children.map(kill));
    folder.remove();
  });

  it('learn of a logout promptly, and still reject the session after a restart', async () => {
    const [one, two] = [await web(), await web()];
    const session = await logIn(one);
    expect(await statusAt(two, session)).toBe(200);
    const stream = await openStream(`${two}/dashboard/stream`, { Cookie: session.cookie });
    await waitFor(() => stream.events.length > 0);
    await ask(`${one}/auth/logout`, { method: 'POST', headers: session });
    const started = Date.now();
    expect(await statusAt(one, session)).toBe(401);
    await stream.ended;
    await waitFor(async () => (await statusAt(two, session)) === 401, promptly);
    expect(Date.now() - started).toBeLessThan(promptly * 1000);
    expect(stream.events.at(-1)).toMatchObject({ event: 'session', data: '{"reason":"revoked"}' });
    await Promise.all(children.splice(0).map(kill));
    expect(await statusAt(await web(), session)).toBe(401);
  });

  it('sign a user out everywhere with one request, and count failures together', async () => {
    const [one, two] = [await web(), await web()];
    const sessions = [await logIn(one), await logIn(two)];
    const [first, second] = sessions;
    expect(
      (await ask(`${one}/auth/sessions`, { method: 'DELETE', headers: first ?? {} })).status,
    ).toBe(204);
    await waitFor(async () => (await statusAt(two, second ?? {})) === 401, promptly);
    const fail = (base: string) =>
      postJson(`${base}/auth/login`, { username: 'vera', password: 'wrong' });
    for (let n = 0; n < 5; n++) expect((await fail(n % 2 ? one : two)).status).toBe(401);
    expect((await fail(one)).status).toBe(429);
    const audit = (await ask(`${two}/audit?limit=500`, { headers: await logIn(two) })).json as {
      items: { action: string; outcome: string }[];
    };
    expect(audit.items.filter(({ outcome }) => outcome === 'failed')).toHaveLength(5);
    expect(audit.items.some(({ action }) => action === 'end_all_sessions')).toBe(true);
  });

  it('keep a session across a restart, but not if its user was changed', async () => {
    const session = await logIn(await web());
    expect(await statusAt(await web(), session)).toBe(200);
    expect(await statusAt(await web(`vera ${cheapHash('three')}`), session)).toBe(401);
    expect(await statusAt(await web(`admin ${cheapHash('another')}`), session)).toBe(401);
  });
});
