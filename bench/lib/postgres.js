import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { atExit, temporaryFolder } from './at-exit.js';

const versions = '/usr/lib/postgresql';

/**
 * Starts a PostgreSQL with its own settings, in a folder of its own; `undefined` where none is
 * installed.
 */
export async function startPostgres(port = 54399) {
  const [version] = existsSync(versions) ? readdirSync(versions) : [];
  if (!version) {
    console.error('PostgreSQL is missing, so its row is left out: apt-get install postgresql');
    return undefined;
  }
  const bin = join(versions, version, 'bin');
  const { path: folder, remove } = temporaryFolder();
  // It refuses to run as root.
  const user = process.getuid?.() === 0 ? { uid: idOf('-u'), gid: idOf('-g') } : {};
  if (user.uid !== undefined) execFileSync('chown', ['-R', 'postgres', folder]);
  execFileSync(join(bin, 'initdb'), ['-D', folder, '-A', 'trust', '-U', 'bench'], {
    ...user,
    cwd: folder,
    stdio: 'ignore',
  });
  const server = spawn(
    join(bin, 'postgres'),
    ['-D', folder, '-p', String(port), '-h', '127.0.0.1', '-k', folder],
    {
      ...user,
      cwd: folder,
      stdio: 'ignore',
    },
  );
  // It ends its own processes.
  const end = atExit(() => server.kill('SIGINT'));
  await setTimeout(2000);
  return {
    url: `postgres://bench@127.0.0.1:${port}/postgres`,
    async stop() {
      const ended = new Promise((resolve) => server.once('exit', resolve));
      end();
      await ended;
      remove();
    },
  };
}

/** @param {'-u' | '-g'} which */
function idOf(which) {
  return Number(execFileSync('id', [which, 'postgres'], { encoding: 'utf8' }));
}
