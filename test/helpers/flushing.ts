import { type AddressInfo, createServer, connect as open, type Socket } from 'node:net';
import { Redis } from 'ioredis';

/** A connection to Redis that drops all scripts of Redis before each call by a hash. */
export interface Flushing {
  port: number;
  close(): Promise<void>;
}

export async function flushing(target: number): Promise<Flushing> {
  const admin = new Redis(target, '127.0.0.1');
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = open(target, '127.0.0.1');
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
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
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
        admin.disconnect();
      }),
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
