import { existsSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * Returns the folder of the app that runs in this process: the nearest folder with a package.json,
 * at or above the main script.
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
    // If the program was given on the command line (`node -e`), there is no main script.
    return process.cwd();
  }
}
