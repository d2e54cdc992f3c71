import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ask, logIn } from '../helpers/client.js';
import { temporaryFolder } from '../helpers/folder.js';
import { type Child, startProcess } from '../helpers/process.js';
import { waitFor } from '../helpers/wait.js';

describe('npm start', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let child: Child;
  const start = (env: Record<string, string> = {}): void => {
    child = startProcess('npm', ['start'], {
      PORT: '0',
      DATABASE: folder.file('quickstart.db'),
      npm_config_loglevel: 'error',
      ...env,
    });
  };
  const said = (pattern: RegExp): Promise<string> =>
    waitFor(() => pattern.exec(child.lines.join('\n'))?.[1]);

  beforeEach(() => {
    folder = temporaryFolder();
  });
  afterEach(async () => {
    child.process.kill('SIGKILL');
    await child.ended;
    folder.remove();
  });

  it('prints the address and a password, and shows tasks in every state', async () => {
    start();
    const address = await said(/Dashboard +(http\S+)\/dashboard/);
    const password = await said(/Password +(\S+)/);
    expect(password.length).toBeGreaterThanOrEqual(12);
    const session = await logIn(address, 'admin', password);
    const seen = new Set<string>();
    await waitFor(async () => {
      const { items } = (await ask(address, { headers: session })).json as {
        items: { status: string; source: string }[];
      };
      for (const { status, source } of items) seen.add(status).add(source);
      return ['pending', 'running', 'success', 'failed', 'cancelled', 'scheduled'].every((each) =>
        seen.has(each),
      );
    });
    child.process.kill('SIGTERM');
    expect(await child.ended).not.toBe('SIGKILL');
  });

  it.each(['SIGTERM', 'SIGINT'] as const)(
    'uses the password of the environment, hides it, and stops cleanly on %s',
    async (signal) => {
      start({ ADMIN_PASSWORD: 'Canary-Pa55word' });
      const address = await said(/Dashboard +(http\S+)\/dashboard/);
      const session = await logIn(address, 'admin', 'Canary-Pa55word');
      expect((await ask(`${address}/metrics`, { headers: session })).status).toBe(200);
      child.process.kill(signal);
      await child.ended;
      await waitFor(() =>
        ask(`${address}/health`).then(
          () => false,
          () => true,
        ),
      );
      expect(child.lines.join('\n')).not.toContain('Canary');
      expect(child.lines.join('\n')).not.toMatch(/Error|warn/i);
    },
  );
});
