import type { Queue } from 'bullmq';
import { typeError, wrongKind } from '../../../options.js';
import { connectionOfQueue, type RedisConnection } from '../connection/connection-option.js';

/**
 * Checks the list of queues.
 *
 * @throws TypeError if it is not a list of BullMQ queues on Redis, or if two queues have the same
 * name.
 */
export function queuesOption(queues: readonly Queue[]): readonly Queue[] {
  const isQueue = (queue: unknown): boolean =>
    typeof queue === 'object' &&
    queue !== null &&
    ['getRanges', 'getJobCounts', 'getBackend'].every((name) => name in queue);
  if (!Array.isArray(queues) || queues.length === 0 || !queues.every(isQueue))
    throw wrongKind('queues', queues, 'a list of BullMQ queues');
  const other = queues.find((queue) => !('client' in (queue.getBackend() as object)));
  if (other)
    throw typeError(
      `queue '${other.name}' is not on Redis; attachQueues supports only queues on Redis`,
    );
  const names = queues.map(({ name }) => name);
  const twice = names.find((name, n) => names.indexOf(name) !== n);
  if (twice !== undefined)
    throw typeError(`queues contains two queues with the name '${twice}'; give each queue once`);
  return queues;
}

/** Returns the connection of a queue, if an ioredis client can be created from it. */
export function connectionOf(queue: Queue | undefined): RedisConnection | undefined {
  const connection = queue?.opts.connection;
  if (typeof connection !== 'object' || connection === null) return undefined;
  const isOther =
    'runCommand' in connection || ('isCluster' in connection && connection.isCluster === true);
  if (isOther) return undefined;
  return 'duplicate' in connection
    ? (connection as RedisConnection)
    : connectionOfQueue(connection);
}
