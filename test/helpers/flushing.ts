import { Redis } from 'ioredis';
import { type Relay, relay } from './relay.js';

/** Opens a port of Redis at which it loses all scripts before each call of a script by its hash. */
export async function flushing(target: number): Promise<Relay> {
  const admin = new Redis(target, '127.0.0.1');
  const { close, ...rest } = await relay(
    () => target,
    (near, far) => {
      far.pipe(near);
      let unread = Buffer.alloc(0);
      let sent = Promise.resolve();
      near.on('data', (chunk) => {
        unread = Buffer.concat([unread, chunk]);
        for (let next = firstCommand(unread); next; next = firstCommand(unread)) {
          const { name, length } = next;
          const command = unread.subarray(0, length);
          unread = unread.subarray(length);
          sent = sent.then(async () => {
            if (name === 'evalsha') await admin.script('FLUSH');
            far.write(command);
          });
        }
      });
    },
  );
  return {
    ...rest,
    close: () => {
      admin.disconnect();
      return close();
    },
  };
}

/** Returns the name and the length of the first command, or undefined if it is not complete. */
function firstCommand(bytes: Buffer): { name: string; length: number } | undefined {
  const lineFrom = (at: number): [value: number, end: number] | undefined => {
    const end = bytes.indexOf('\r\n', at);
    return end < 0 ? undefined : [Number(bytes.subarray(at + 1, end)), end + 2];
  };
  const first = lineFrom(0);
  if (!first) return undefined;
  let [parts, at] = first;
  let name = '';
  for (; parts > 0; parts--) {
    const size = lineFrom(at);
    if (!size || bytes.length < size[1] + size[0] + 2) return undefined;
    name ||= String(bytes.subarray(size[1], size[1] + size[0])).toLowerCase();
    at = size[1] + size[0] + 2;
  }
  return { name, length: at };
}
