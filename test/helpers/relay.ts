import { type AddressInfo, createServer, connect as open, type Socket } from 'node:net';

/** A port of loopback whose connections lead to another port. */
export interface Relay {
  port: number;
  /** Ends every connection at once, even in the middle of a message. */
  cut(): void;
  close(): Promise<void>;
}

/**
 * Listens on a free port. For each connection, opens one to the port that `target` returns, and
 * lets `join` forward the data between the two. If one of them ends, so does the other.
 */
export async function relay(
  target: () => number,
  join: (near: Socket, far: Socket) => void,
): Promise<Relay> {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = open(target(), '127.0.0.1');
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    join(near, far);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        cut();
      }),
  };
}
