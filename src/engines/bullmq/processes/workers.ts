import type { Queue } from 'bullmq';
import type { ProcessInfo } from '../../../tasks/types.js';

/** Lists the connections of workers. Redis knows only the addresses of their processes. */
export async function listWorkers(queues: readonly Queue[]): Promise<ProcessInfo[]> {
  const lists = await Promise.all(
    queues.map(async (queue) =>
      (await queue.getWorkers()).map((client) => toWorker(queue.name, client)),
    ),
  );
  return lists.flat();
}

function toWorker(
  queue: string,
  { id = '', addr = '', age = '0', idle = '0', rawname = '' }: Record<string, string>,
): ProcessInfo {
  const [, name] = rawname.split(':w:');
  return {
    id: `${queue}:${id}`,
    host: name ? `${name} (${addr})` : addr,
    pid: null,
    version: null,
    slots: null,
    running: null,
    stuck: null,
    stuckAttempts: [],
    queue,
    startedAt: new Date(Date.now() - Number(age) * 1000).toISOString(),
    // Seconds since the last command. A worker asks for jobs every few seconds.
    lastSign: Number(idle),
  };
}
