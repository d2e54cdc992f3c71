import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { temporaryFolder } from './folder.js';
import { programPath } from './program.js';
import { waitFor } from './wait.js';

/**
 * Starts nginx with server blocks. It changes no defaults, except for the places of its files.
 * Resolves when its ports accept connections.
 */
export async function startNginx(servers: string): Promise<{ close(): Promise<void> }> {
  const folder = temporaryFolder();
  const [pid, log] = [folder.file('nginx.pid'), folder.file('error.log')];
  const buffers = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const configuration = `
    daemon off;
    master_process off;
    pid ${pid};
    error_log ${log};
    events {}
    http {
      access_log off;
      ${buffers.map((name) => `${name}_temp_path ${folder.file(name)};`).join('\n')}
      ${servers}
    }`;
  writeFileSync(folder.file('nginx.conf'), configuration);
  const args = ['-c', folder.file('nginx.conf'), '-e', log];
  const nginx = spawn(programPath('nginx') ?? 'nginx', args, { stdio: 'ignore' });
  const ended = once(nginx, 'exit');
  const hasEnded = (): boolean => nginx.exitCode !== null || nginx.signalCode !== null;
  // nginx writes this file after it has opened its ports.
  await waitFor(() => existsSync(pid) || hasEnded());
  if (hasEnded()) throw new Error(`nginx has ended: ${readFileSync(log, 'utf8')}`);
  return {
    async close() {
      nginx.kill('SIGTERM');
      await ended;
      folder.remove();
    },
  };
}

/** Returns the blocks of lines for nginx on a page of the docs. */
export function nginxLines(page: string): string[] {
  const text = readFileSync(`docs/${page}`, 'utf8');
  return [...text.matchAll(/```nginx\n(.*?)```/gs)].map(([, lines = '']) =>
    lines.replaceAll('Host $host;', 'Host $host:$server_port;'),
  );
}
