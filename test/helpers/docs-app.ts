import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from './folder.js';
import { freePort } from './free-port.js';
import { type Child, startProcess } from './process.js';
import { waitFor } from './wait.js';

/*
 * Runs the files of a page of the docs as a reader does: a folder has the packages that the page
 * installs, and the code blocks whose first line is the name of a file, such as `// app.mjs`.
 */

const root = fileURLToPath(new URL('../..', import.meta.url));

/** A code block, perhaps in a list, that begins with the name of its file. */
export const fileBlock = /^ *```(?:js|ts)\n *\/\/ ([\w.-]+\.(?:mjs|ts))\n(.*?)^ *```/gms;

/** Returns the files of a page by name. */
export function filesOf(text: string): Map<string, string> {
  return new Map(
    [...text.matchAll(fileBlock)].map(([, name = '', code = '']) => [name, code] as const),
  );
}

/** Returns the names of the packages that the commands of a page install. */
function packagesOf(text: string): string[] {
  return [...text.matchAll(/^ *npm install (.+)$/gm)].flatMap(([, names = '']) =>
    names.split(' ').map((name) => name.replace(/(?<=.)@[^@]*$/, '')),
  );
}

/** A folder with the files of a page. The app listens on a free port instead of 3000. */
export interface PageFolder {
  /** The address of the app, without a path. */
  readonly base: string;
  readonly port: number;
  file(name: string): string;
  /** Changes a file, such as the URL of a server to the one of a test. */
  replace(name: string, before: string, after: string): void;
  /** Starts a file with environment variables and arguments. */
  run(name: string, env?: Record<string, string>, args?: readonly string[]): Child;
  /** Starts the app, and resolves when it has printed its address. */
  start(env?: Record<string, string>): Promise<Child>;
  /** Ends all processes. Resolves to the exit codes of those that ran until now. */
  stop(): Promise<(number | string)[]>;
}

/** Makes the folder of a page. */
export async function pageFolder(page: string): Promise<PageFolder> {
  const text = readFileSync(join(root, page), 'utf8');
  const folder = temporaryFolder();
  const port = await freePort();
  for (const name of new Set(packagesOf(text))) {
    const link = folder.file(`node_modules/${name}`);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(name === 'koa-taskflow' ? root : join(root, 'node_modules', name), link);
  }
  for (const [name, code] of filesOf(text))
    writeFileSync(folder.file(name), code.replaceAll('3000', String(port)));
  const children: Child[] = [];
  const base = `http://127.0.0.1:${port}`;
  const run: PageFolder['run'] = (name, env, args = []) => {
    const child = startProcess(process.execPath, [name, ...args], env, folder.path);
    children.push(child);
    return child;
  };
  return {
    base,
    port,
    file: folder.file,
    replace(name, before, after) {
      const code = readFileSync(folder.file(name), 'utf8');
      if (!code.includes(before)) throw new Error(`${name} of ${page} has no ${before}`);
      writeFileSync(
        folder.file(name),
        code.replaceAll(before, () => after),
      );
    },
    run,
    async start(env) {
      const child = run('app.mjs', env);
      let code: number | string | undefined;
      void child.ended.then((ended) => {
        code = ended;
      });
      await waitFor(() => code !== undefined || child.lines.some((line) => line.includes(base)));
      if (code !== undefined)
        throw new Error(`app.mjs ended with ${code}: ${child.lines.join('\n')}`);
      return child;
    },
    async stop() {
      const running = children.filter(({ process: child }) => child.exitCode === null);
      for (const { process: child } of running) child.kill('SIGTERM');
      const codes = await Promise.all(running.map(({ ended }) => ended));
      folder.remove();
      return codes;
    },
  };
}
