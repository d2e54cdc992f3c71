import { createHash } from 'node:crypto';

/** The first frame of the app's own code: not of a dependency, not of Node. Without line numbers, which every edit moves. */
function ownFrame(stack: string): string {
  const frame = stack.split('\n').find((line) => /^\s+at /.test(line) && !/node_modules|node:internal|\(node:/.test(line));
  return frame?.trim().replace(/:\d+:\d+\)?$/, '') ?? '';
}

/** Text without what differs between two failures of one kind: numbers, ids, quoted values. */
function withoutValues(message: string): string {
  return message
    .slice(0, 1000)
    .replace(/[0-9a-f]{8}-[0-9a-f-]{27}/gi, '#')
    .replace(/\b[0-9a-f]{12,}\b/gi, '#')
    .replace(/\d+/g, '#');
}

/** The same for failures of one kind: function, error class, message without numbers and ids, first own frame. */
export function fingerprint(task: string, error: { name: string; message: string; stack: string | null }): string {
  const parts = [task, error.name, withoutValues(error.message), ownFrame(error.stack ?? '')];
  return createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 16);
}
