import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { storePassword } from '../src/auth/passwords/stored-password.js';
import { password } from './helpers/passwords.js';
import { waitFor } from './helpers/wait.js';

const cli = fileURLToPath(new URL('../dist/cli.js', import.meta.url));

function run(
  args: readonly string[],
  input: string,
): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, [cli, ...args]);
  let [out, err] = ['', ''];
  child.stdout.on('data', (chunk) => {
    out += String(chunk);
  });
  child.stderr.on('data', (chunk) => {
    err += String(chunk);
  });
  child.stdin.end(input);
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, out, err })));
}

/** Runs the command at a terminal of `script`. Resolves to all text that the terminal showed. */
async function atTerminal(answers: readonly string[]): Promise<string> {
  const darwin = ['/dev/null', process.execPath, cli, 'hash'];
  const command =
    process.platform === 'darwin'
      ? darwin
      : ['-ec', `"${process.execPath}" "${cli}" hash`, '/dev/null'];
  const child = spawn('script', ['-q', ...command], { env: { ...process.env, NODE_OPTIONS: '' } });
  let shown = '';
  child.stdout.on('data', (chunk) => {
    shown += String(chunk);
  });
  for (const [index, answer] of answers.entries()) {
    await waitFor(() => shown.includes(index === 0 ? 'Password: ' : 'Again: '));
    child.stdin.write(answer);
  }
  await new Promise((resolve) => child.once('close', resolve));
  return shown;
}

describe('npx koa-taskflow hash', () => {
  it('prints a hash of the line that it reads', async () => {
    const { code, out, err } = await run(['hash'], `${password}\n`);
    expect([code, err]).toEqual([0, '']);
    expect(await storePassword('alice', out.trim()).matches(password)).toBe(true);
  });

  it('asks twice at a terminal and never shows the input', async () => {
    const shown = await atTerminal([`${password}x\b\r`, `${password}\r`]);
    expect(shown).not.toContain('Canary');
    const hash = /\$scrypt\$\S+/.exec(shown)?.[0] ?? '';
    expect(await storePassword('alice', hash).matches(password)).toBe(true);
  });

  it('hides input that is typed before the second question', async () => {
    expect(await atTerminal([`${password}\r${password}\r`])).not.toContain('Canary');
  });

  it('rejects two different passwords and stops at Ctrl+C', async () => {
    expect(await atTerminal(['one\r', 'two\r'])).toMatch(/the passwords do not match/);
    expect(await atTerminal(['one\u0003'])).toMatch(/cancelled/);
  });

  it.each([
    ['an empty password', ['hash'], '\n', 1],
    ['a password of 1025 bytes', ['hash'], `${'a'.repeat(1025)}\n`, 1],
    ['a password as an argument', ['hash', password], '', 2],
    ['another command', ['serve'], '', 2],
  ])('rejects %s without repeating it', async (_case, args, input, expected) => {
    const { code, out, err } = await run(args, input);
    expect([code, out]).toEqual([expected, '']);
    expect(err).toMatch(/^koa-taskflow: /);
    expect(err).not.toContain('Canary');
  });

  it('prints its usage', async () => {
    expect(await run([], '')).toMatchObject({
      code: 0,
      out: expect.stringContaining('npx koa-taskflow hash'),
    });
  });
});
