import type { Logger } from '../../../options.js';
import { keyOfName } from './names.js';

/** Milliseconds after which a row of the table that no login matched is logged. */
const unusedFor = 24 * 3_600_000;

/** Where the log line goes, and what the time is. */
interface Parts {
  logger: Logger;
  now(): number;
}

/** Returns a function that logs a row of `roles.map` once if no login has matched it for a day. */
export function unusedRows(
  map: object,
  { logger, now }: Parts,
): (groups: readonly string[]) => void {
  const started = now();
  const rows = Object.keys(map).map((group) => ({ group, key: keyOfName(group), used: started }));
  const logged = new Set<string>();
  return (groups) => {
    const keys = new Set(groups.map(keyOfName));
    for (const row of rows) {
      if (keys.has(row.key)) row.used = now();
      else if (now() - row.used >= unusedFor && !logged.has(row.key)) {
        logged.add(row.key);
        logger.warn({ group: row.group }, 'no login has matched a group of roles.map for a day');
      }
    }
  };
}
