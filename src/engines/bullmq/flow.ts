import type { JobJson, Queue } from 'bullmq';
import type { FlowNode } from '../../tasks/types.js';
import { keyOf, partsOf } from './job-ids.js';
import type { JobMirror } from './mirror.js';

/** How much of a tree is shown: levels above and below, children of one job, and jobs in all. */
const most = { above: 10, below: 5, children: 50, jobs: 200 };

interface Parts {
  mirror: JobMirror;
  queues: ReadonlyMap<string, Queue>;
}

/** The tree that a job is part of, from its topmost parent on; nothing for a job without parent and children. */
export async function readFlow(parts: Parts, key: string): Promise<FlowNode | undefined> {
  let top = key;
  for (let level = 0; level < most.above; level++) {
    const parent = parentOf(await read(parts, top));
    if (parent === undefined) break;
    top = parent;
  }
  const tree = await readNode(parts, top, most.below, { left: most.jobs });
  return top === key && tree.children.length === 0 ? undefined : tree;
}

async function read({ queues }: Parts, key: string): Promise<JobJson | undefined> {
  const { queue, jobId } = partsOf(key);
  return queues.get(queue)?.getBackend().getJobData(jobId);
}

function parentOf(job: JobJson | undefined): string | undefined {
  const { id, queueKey } = job?.parent ?? {};
  return id === undefined || queueKey === undefined ? undefined : keyOf(queueKey.slice(queueKey.lastIndexOf(':') + 1), id);
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
  const backend = queues.get(queue)?.getBackend();
  if (!backend) return { keys: [], more: 0 };
  const kinds = ['processed', 'unprocessed', 'failed', 'ignored'] as const;
  const counts = await backend.getDependencyCounts(jobId, [...kinds]);
  const total = counts.reduce((sum, n) => sum + Number(n), 0);
  if (total === 0) return { keys: [], more: 0 };
  const page = { count: most.children };
  const {
    processed = {},
    unprocessed = [],
    failed = [],
    ignored = {},
  } = await backend.getDependencies(jobId, Object.fromEntries(kinds.map((kind) => [kind, page])));
  const found = [...new Set([...Object.keys(processed), ...unprocessed, ...failed, ...Object.keys(ignored)])].sort();
  const keys = found.slice(0, most.children).map((node) => {
    const { queueName, id } = backend.parseNodeKey(node);
    return keyOf(queueName, id);
  });
  return { keys, more: Math.max(0, total - keys.length) };
}
