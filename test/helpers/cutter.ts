import { type AddressInfo, createServer, connect as open, type Socket } from 'node:net';

/** A connection to a port that a test can cut, as a tunnel does with a train. */
export interface Cutter {
  port: number;
  /** Ends every connection at once, even in the middle of a message. */
  cut(): void;
  /** Forwards requests and drops their answers, until the connection is cut. */
  loseAnswers(): void;
  /** Ends every connection and sends new ones to another port. */
  leadTo(port: number): void;
  close(): Promise<void>;
}

export async function cuttable(target: number): Promise<Cutter> {
  const sockets = new Set<Socket>();
  let isLosing = false;
  let to = target;
  const server = createServer((near) => {
    const far = open(to, '127.0.0.1');
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far);
    far.on('data', (chunk) => {
      if (!isLosing) near.write(chunk);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
    isLosing = false;
  };
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    loseAnswers: () => {
      isLosing = true;
    },
    leadTo: (port) => {
      to = port;
      cut();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        cut();
      }),
  };
}
