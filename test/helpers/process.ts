import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** A separate process that runs a script on the built files. */
export interface Child {
  process: ChildProcess;
  /** The lines that it has written so far. */
  lines: string[];
  /** Those of `lines` that it wrote to standard output. */
  output: string[];
  /**
   * Resolves to its exit code, or to the signal that ended it, after all of its output is in
   * `lines`.
   */
  ended: Promise<number | string>;
}

const root = fileURLToPath(new URL('../..', import.meta.url));

export function startProcess(
  command: string,
  args: readonly string[],
  env: Record<string, string> = {},
  cwd: string = root,
): Child {
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, NODE_OPTIONS: '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [lines, output]: [string[], string[]] = [[], []];
  const take = (...lists: string[][]) => {
    let rest = '';
    return (chunk: Buffer): void => {
      const parts = (rest + String(chunk)).split('\n');
      rest = parts.pop() ?? '';
      for (const list of lists) list.push(...parts);
    };
  };
  child.stdout.on('data', take(lines, output));
  child.stderr.on('data', take(lines));
  const ended = new Promise<number | string>((resolve) =>
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'unknown')),
  );
  return { process: child, lines, output, ended };
}

/** Runs a script of test/helpers/scripts. */
export function startScript(name: string, ...args: string[]): Child {
  return startProcess(process.execPath, [
    fileURLToPath(new URL(`./scripts/${name}`, import.meta.url)),
    ...args,
  ]);
}
