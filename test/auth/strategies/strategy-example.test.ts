import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { startProcess } from '../../helpers/process.js';
import { waitFor } from '../../helpers/wait.js';

/**
 * The answers of the example of docs/write-a-strategy.md, each with its processor time in
 * milliseconds.
 */
interface Seen {
  users: string;
  answers: Record<
    'right' | 'otherCase' | 'wrong' | 'unknown',
    [verdict: unknown, milliseconds: number]
  >;
  known: [version: string, roles: string[]];
  unknown: unknown;
}

const page = readFileSync(new URL('../../../docs/write-a-strategy.md', import.meta.url), 'utf8');
const [, code = ''] = /```js\n([\s\S]*?)```/.exec(page) ?? [];
const [, contract = ''] = /```ts\n([\s\S]*?)```/.exec(page) ?? [];
const env = {
  ADMIN_PASSWORD: 'a',
  TASKFLOW_SECRET_KEY: 'abcdefghijklmnopqrstuvwxyz0123456789',
};

describe('the example strategy', () => {
  let seen: Seen;

  beforeAll(async () => {
    const program = `${code}
      const context = { signal: new AbortController().signal, ip: '', requestId: '' };
      const timed = async (name, password) => {
        const times = [];
        let verdict;
        for (let n = 0; n < 3; n++) {
          const before = process.cpuUsage();
          verdict = await database.authenticate_user(name, password, context);
          const { user, system } = process.cpuUsage(before);
          times.push((user + system) / 1000);
        }
        return [verdict, Math.min(...times)];
      };
      const answers = {
        right: await timed('alice', 'secret'),
        otherCase: await timed('ALICE', 'secret'),
        wrong: await timed('alice', 'wrong'),
        unknown: await timed('nobody', 'secret'),
      };
      const { version, roles } = await database.find_user('Alice', context);
      const missing = await database.find_user('nobody', context) ?? null;
      const rows = [...users].map(([name, row]) => [name, Object.values(row).map(String)]);
      const text = JSON.stringify(rows);
      const seen = { users: text, answers, known: [version, roles], unknown: missing };
      console.log('SEEN' + JSON.stringify(seen));
      process.exit(0);`;
    const child = startProcess(process.execPath, ['--input-type=module', '-e', program], env);
    const line = await waitFor(() => child.lines.find((each) => each.startsWith('SEEN')));
    seen = JSON.parse(line.slice('SEEN'.length)) as Seen;
  });

  it('keeps no password, and returns one canonical name for each user', () => {
    const alice = { ok: true, username: 'alice', roles: ['operator'] };
    expect([
      seen.answers.right[0],
      seen.answers.otherCase[0],
      seen.answers.wrong[0],
      seen.answers.unknown[0],
    ]).toEqual([alice, alice, false, false]);
    expect(seen.users).not.toContain('secret');
    expect(seen.known).toEqual([expect.stringMatching(/^[\w-]{43}$/), ['operator']]);
    expect(seen.unknown).toBeNull();
  });

  it('does as much work for an unknown name as for a known one', () => {
    expect(seen.answers.unknown[1]).toBeGreaterThan(seen.answers.wrong[1] / 2);
    expect(seen.answers.wrong[1]).toBeGreaterThan(20);
  });

  it('passes the contract of strategies, as the page tests it', async () => {
    const cheap = code.replace('{ N: 2 ** 15, r: 8, p: 3,', '{ N: 2 ** 4, r: 1, p: 1,');
    expect(cheap).not.toBe(code);
    const program = cheap + contract;
    const args = ['--test-reporter=tap', '--input-type=module', '-e', program];
    const child = startProcess(process.execPath, args, env);
    expect(await child.ended).toBe(0);
    expect(child.lines).toContain('# fail 0');
    expect(child.lines.join()).toContain('never mixes up the results of 200 attempts at once');
  });
});
