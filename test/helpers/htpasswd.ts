import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const program = (process.env.PATH ?? '')
  .split(':')
  .map((folder) => `${folder}/htpasswd`)
  .find((path) => existsSync(path));

/** Whether tests run Apache's `htpasswd`. With `CI=true`, they fail if it is missing. */
export const hasHtpasswd = program !== undefined || Boolean(process.env.CI);

/** Runs Apache's `htpasswd`, and returns what it prints. */
export function htpasswd(...args: string[]): string {
  return execFileSync(program ?? 'htpasswd', args, { encoding: 'utf8', stdio: 'pipe' });
}

const lines = new Map<string, string>();

/** Returns the line of a user with a bcrypt hash of the lowest cost, always the same one. */
export function bcryptLine(username: string, password: string): string {
  const key = JSON.stringify([username, password]);
  const line = lines.get(key) ?? htpasswd('-nbB', '-C', '4', username, password).trim();
  lines.set(key, line);
  return line;
}
