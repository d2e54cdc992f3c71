import type { Redis } from 'ioredis';

/**
 * Sends the commands of one turn of the event loop with one write to the socket. ioredis writes
 * each command by itself, and a system call costs more than the command: with this, an enqueue and
 * its note are one call.
 */
export function writeOncePerTurn(redis: Redis): void {
  redis.on('connect', () => {
    const { stream } = redis;
    const write = stream.write.bind(stream) as (...args: unknown[]) => boolean;
    let corked = false;
    const uncork = (): void => {
      corked = false;
      stream.uncork();
    };
    stream.write = (...args: unknown[]): boolean => {
      if (!corked) {
        corked = true;
        stream.cork();
        process.nextTick(uncork);
      }
      return write(...args);
    };
  });
}
