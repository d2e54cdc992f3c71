import { type EndedGroup, endedGroups } from './groups.js';
import { byItem, type QueueCommand, scored, waitingSets } from './source.js';

/** Maximum number of running jobs that are read per queue. */
export const maxRunning = 10_000;

/** The state of a queue in BullMQ at one moment. */
export interface QueueFacts extends Record<EndedGroup, EndedFacts> {
  queue: string;
  active: readonly string[];
  /** The number of waiting jobs, in each of BullMQ's sets and (`waiting`) in total. */
  counts: readonly number[];
  waiting: number;
}

interface EndedFacts {
  n: number;
  newest: string | undefined;
  /** When the newest and the oldest ended job ended. */
  newestEnd: number | undefined;
  oldest: number | undefined;
}

/** Returns the commands that read the facts of queues, the same number for each queue. */
export function factCommands(queues: readonly string[]): QueueCommand[] {
  return queues.flatMap((queue): QueueCommand[] => [
    [queue, 'lrange', 'active', 0, maxRunning - 1],
    ...waitingSets.map(
      ({ type, isList }): QueueCommand => [queue, isList ? 'llen' : 'zcard', type],
    ),
    ...endedGroups.flatMap((group): QueueCommand[] => [
      [queue, 'zcard', group],
      [queue, 'zrevrange', group, 0, 0, 'WITHSCORES'],
      [queue, 'zrange', group, 0, 0, 'WITHSCORES'],
    ]),
  ]);
}

/** Returns the facts of queues from the answers to {@link factCommands}. */
export function factsOf(queues: readonly string[], answers: readonly unknown[]): QueueFacts[] {
  return byItem(queues, answers).map(([queue, [active, ...rest]]) => {
    const counts = rest.splice(0, waitingSets.length).map(Number);
    return {
      queue,
      active: active as string[],
      counts,
      waiting: counts.reduce((sum, count) => sum + count, 0),
      completed: endedFacts(rest.slice(0, 3)),
      failed: endedFacts(rest.slice(3)),
    };
  });
}

function endedFacts([n, last, first]: readonly unknown[]): EndedFacts {
  const [[newest, newestEnd] = [], [, oldest] = []] = [scored(last)[0], scored(first)[0]];
  return { n: Number(n), newest, newestEnd, oldest };
}
