import type { FlowNode, TaskSummary } from '../../../tasks/types.js';
import { keyOf, partsOf } from '../jobs/job-ids.js';
import type { QueueReads } from '../queues/queue-reads.js';
import type { WindowModel } from '../read/window-model.js';

/**
 * Limits of the tree that is shown: levels above the job, levels below the topmost job, children
 * per job, and jobs in total.
 */
const max = { above: 10, below: 5, children: 50, jobs: 200 };

interface Deps {
  model: WindowModel;
  queues: ReadonlyMap<string, QueueReads>;
}

/** A job of a flow. `key` is the id of its task. */
interface Branch {
  key: string;
  children: Branch[];
  /** How many children are not shown. */
  more: number;
}

/**
 * Returns the tree that contains a job, from its topmost parent down. Returns undefined if the job
 * has neither a parent nor children.
 */
export async function readFlow(
  { model, queues }: Deps,
  key: string,
): Promise<FlowNode | undefined> {
  let top = key;
  for (let level = 0; level < max.above; level++) {
    const parent = await parentOf(queues, top);
    if (parent === undefined) break;
    top = parent;
  }
  const keys: string[] = [];
  const tree = await readBranch(queues, top, max.below, keys);
  if (top === key && tree.children.length === 0) return undefined;
  const tasks = new Map((await model.summaries(keys)).map((task) => [task.id, task]));
  return nodeOf(tree, tasks);
}

async function parentOf(queues: Deps['queues'], key: string): Promise<string | undefined> {
  const { queue, jobId } = partsOf(key);
  const parent = await queues.get(queue)?.parentOf(jobId);
  return parent === undefined ? undefined : taskOfKey(queues, parent);
}

/** Returns the id of the task whose job has this Redis key. */
function taskOfKey(queues: Deps['queues'], key: string): string {
  for (const [name, { base }] of queues)
    if (key.startsWith(base)) return keyOf(name, key.slice(base.length));
  // The queue is not attached. Queue names never contain a colon, and job ids rarely do.
  const [queue = '', jobId = ''] = key.split(':').slice(-2);
  return keyOf(queue, jobId);
}

/** Reads a job and its descendants. `keys` collects the ids of the jobs that were read. */
async function readBranch(
  queues: Deps['queues'],
  key: string,
  levels: number,
  keys: string[],
): Promise<Branch> {
  keys.push(key);
  const left = (): number => Math.max(0, max.jobs - keys.length);
  const { found, more } =
    levels === 0 || left() === 0 ? { found: [], more: 0 } : await childrenOf(queues, key);
  const shown = found.slice(0, left());
  const children: Branch[] = [];
  for (const child of shown) children.push(await readBranch(queues, child, levels - 1, keys));
  return { key, children, more: more + found.length - shown.length };
}

function nodeOf(
  { key, children, more }: Branch,
  tasks: ReadonlyMap<string, TaskSummary>,
): FlowNode {
  const task = tasks.get(key);
  return {
    id: key,
    name: task?.name ?? key,
    // Null if the queue of the job is not attached, or if the job was removed.
    status: task?.status ?? null,
    ...(task?.engineState !== undefined && { engineState: task.engineState }),
    children: children.map((child) => nodeOf(child, tasks)),
    more,
  };
}

/** Returns the children of a job, whether they have ended or not, up to the limit. */
async function childrenOf(
  queues: Deps['queues'],
  key: string,
): Promise<{ found: string[]; more: number }> {
  const { queue, jobId } = partsOf(key);
  const { keys, total } = (await queues.get(queue)?.children(jobId, max.children)) ?? {
    keys: [],
    total: 0,
  };
  return {
    found: keys.sort().map((child) => taskOfKey(queues, child)),
    more: Math.max(0, total - keys.length),
  };
}
