import { existsSync } from 'node:fs';
import { describe, it } from '@jest/globals';

/** Returns the path of an optional program, or `undefined` if it is missing. */
export function programPath(name: string): string | undefined {
  return [...(process.env.PATH ?? '').split(':'), '/usr/sbin']
    .map((folder) => `${folder}/${name}`)
    .find((path) => existsSync(path));
}

const has = (name: string): boolean => programPath(name) !== undefined || process.env.CI === 'true';

/** Declares a test that is skipped if a program is missing. With `CI=true`, it fails. */
export const itNeeds = (name: string) => (has(name) ? it : it.skip);

/** Declares a group of tests that is skipped if a program is missing. With `CI=true`, it fails. */
export const describeNeeds = (...names: string[]) => (names.every(has) ? describe : describe.skip);
