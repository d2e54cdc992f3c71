import { once } from 'node:events';
import { connect } from 'node:net';
import { waitFor } from './wait.js';

/** The commands that Redis has received since the start of the recording. */
export interface RedisMonitor {
  /** Each command with its arguments, including the commands of scripts. */
  commands(): string[][];
  close(): Promise<void>;
}

/**
 * Listens to the commands that Redis receives. It does not use ioredis: if a line arrives together
 * with the answer to MONITOR, ioredis treats the line as the answer to another command.
 */
export async function monitorRedis(port: number): Promise<RedisMonitor> {
  const socket = connect(port, '127.0.0.1');
  let text = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk;
  });
  socket.write('MONITOR\r\n');
  await waitFor(() => text.startsWith('+OK'));
  return {
    commands: () => {
      const lines = text.slice(0, text.lastIndexOf('\r\n') + 1).split('\r\n');
      const commands = lines.map((line) =>
        [...line.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, word = '']) => word),
      );
      return commands.filter(({ length }) => length > 0);
    },
    async close() {
      socket.destroy();
      await once(socket, 'close');
    },
  };
}
