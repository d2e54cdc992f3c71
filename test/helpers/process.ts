import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** A process of its own that runs a script beside the tests, on the built files. */
export interface Child {
  process: ChildProcess;
  /** Lines it has written so far. */
  lines: string[];
  /**
   * Resolves with its exit code, or with the signal that ended it, once all that it wrote is in
   * `lines`.
   */
  ended: Promise<number | string>;
}

const root = fileURLToPath(new URL('../..', import.meta.url));

export function startProcess(
  command: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Child {
  const child = spawn(command, args, {
    cwd: root,
    env: { ...process.env, NODE_OPTIONS: '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const lines: string[] = [];
  let rest = '';
  const take = (chunk: Buffer): void => {
    const parts = (rest + String(chunk)).split('\n');
    rest = parts.pop() ?? '';
    lines.push(...parts);
  };
  child.stdout.on('data', take);
  child.stderr.on('data', take);
  const ended = new Promise<number | string>((resolve) =>
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'unknown')),
  );
  return { process: child, lines, ended };
}

/** Runs a script of test/helpers/scripts. */
export function startScript(name: string, ...args: string[]): Child {
  return startProcess(process.execPath, [
    fileURLToPath(new URL(`./scripts/${name}`, import.meta.url)),
    ...args,
  ]);
}
