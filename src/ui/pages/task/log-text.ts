import type { LogLine } from '../../../client/client.js';

/** Returns a line of a log in the format of the downloaded text. */
export function lineText({ at, attempt, level, late, message, fields }: LogLine): string {
  const mark = late ? '(late) ' : '';
  return (
    `${at ?? '-'} ${attempt ?? '-'} ${level.toUpperCase().padEnd(5)} ` +
    `${mark}${message}${fields ? ` ${JSON.stringify(fields)}` : ''}\n`
  );
}
