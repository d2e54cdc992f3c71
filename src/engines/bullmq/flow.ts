import type { FlowNode } from '../../tasks/types.js';
import { keyOf, partsOf } from './job-ids.js';
import type { JobMirror } from './mirror.js';
import type { QueueReads } from './queue-reads.js';

/** How much of a tree is shown: levels above and below, children of one job, and jobs in all. */
const most = { above: 10, below: 5, children: 50, jobs: 200 };

interface Parts {
  mirror: JobMirror;
  queues: ReadonlyMap<string, QueueReads>;
}

/** The tree that a job is part of, from its topmost parent on; nothing for a job without parent and children. */
export async function readFlow(parts: Parts, key: string): Promise<FlowNode | undefined> {
  let top = key;
  for (let level = 0; level < most.above; level++) {
    const parent = await parentOf(parts, top);
    if (parent === undefined) break;
    top = parent;
  }
  const tree = await readNode(parts, top, most.below, { left: most.jobs });
  return top === key && tree.children.length === 0 ? undefined : tree;
}

async function parentOf({ queues }: Parts, key: string): Promise<string | undefined> {
  const { queue, jobId } = partsOf(key);
  const parent = await queues.get(queue)?.parentOf(jobId);
  return parent === undefined ? undefined : taskOfKey(queues, parent);
}

/** The id of the task whose job has a key in Redis. */
function taskOfKey(queues: Parts['queues'], key: string): string {
  for (const [name, { base }] of queues) if (key.startsWith(base)) return keyOf(name, key.slice(base.length));
  // Of a queue that is not attached: neither names of queues nor, as a rule, ids of jobs have a colon.
  const [queue = '', jobId = ''] = key.split(':').slice(-2);
  return keyOf(queue, jobId);
}

async function readNode(parts: Parts, key: string, levels: number, budget: { left: number }): Promise<FlowNode> {
  budget.left -= 1;
  const { keys, more } = levels === 0 || budget.left <= 0 ? { keys: [], more: 0 } : await childrenOf(parts, key);
  const shown = keys.slice(0, Math.max(0, budget.left));
  const children: FlowNode[] = [];
  for (const child of shown) children.push(await readNode(parts, child, levels - 1, budget));
  const task = parts.mirror.summary(key);
  return {
    id: key,
    name: task?.name ?? key,
    // A job of a queue that is not attached, or one that is gone.
    status: task?.status ?? null,
    ...(task?.engineState !== undefined && { engineState: task.engineState }),
    children,
    more: more + keys.length - shown.length,
  };
}

/** Children that have ended and that have not, as many as are shown. */
async function childrenOf({ queues }: Parts, key: string): Promise<{ keys: string[]; more: number }> {
  const { queue, jobId } = partsOf(key);
  const { keys, total } = (await queues.get(queue)?.children(jobId, most.children)) ?? { keys: [], total: 0 };
  return { keys: keys.sort().map((child) => taskOfKey(queues, child)), more: Math.max(0, total - keys.length) };
}
