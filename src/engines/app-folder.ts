import { existsSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * The folder of the app that runs in this process: the nearest one with a package.json above its
 * main script.
 */
export function appFolder(): string {
  const start = mainFolder();
  for (let folder = start; ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json'))) return folder;
    if (dirname(folder) === folder) return start;
  }
}

function mainFolder(): string {
  const [, main] = process.argv;
  try {
    return main === undefined ? process.cwd() : dirname(realpathSync(main));
  } catch {
    // A program that was given on the command line has no file.
    return process.cwd();
  }
}
