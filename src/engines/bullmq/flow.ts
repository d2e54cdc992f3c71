import type { FlowNode, TaskSummary } from '../../tasks/types.js';
import { keyOf, partsOf } from './job-ids.js';
import type { QueueReads } from './queue-reads.js';
import type { ReadModel } from './read/read-model.js';

/** How much of a tree is shown: levels above and below, children of one job, and jobs in all. */
const most = { above: 10, below: 5, children: 50, jobs: 200 };

interface Parts {
  model: ReadModel;
  queues: ReadonlyMap<string, QueueReads>;
}

/** A job of a flow, by the id of its task. */
interface Branch {
  key: string;
  children: Branch[];
  /** Children that are not shown. */
  more: number;
}

/** The tree that a job is part of, from its topmost parent on; nothing for a job without parent and children. */
export async function readFlow({ model, queues }: Parts, key: string): Promise<FlowNode | undefined> {
  let top = key;
  for (let level = 0; level < most.above; level++) {
    const parent = await parentOf(queues, top);
    if (parent === undefined) break;
    top = parent;
  }
  const keys: string[] = [];
  const tree = await readBranch(queues, top, most.below, keys);
  if (top === key && tree.children.length === 0) return undefined;
  const tasks = new Map((await model.summaries(keys)).map((task) => [task.id, task]));
  return nodeOf(tree, tasks);
}

async function parentOf(queues: Parts['queues'], key: string): Promise<string | undefined> {
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

/** Reads a job and those below it. `keys`: those that were read so far. */
async function readBranch(queues: Parts['queues'], key: string, levels: number, keys: string[]): Promise<Branch> {
  keys.push(key);
  const left = (): number => Math.max(0, most.jobs - keys.length);
  const { found, more } = levels === 0 || left() === 0 ? { found: [], more: 0 } : await childrenOf(queues, key);
  const shown = found.slice(0, left());
  const children: Branch[] = [];
  for (const child of shown) children.push(await readBranch(queues, child, levels - 1, keys));
  return { key, children, more: more + found.length - shown.length };
}

function nodeOf({ key, children, more }: Branch, tasks: ReadonlyMap<string, TaskSummary>): FlowNode {
  const task = tasks.get(key);
  return {
    id: key,
    name: task?.name ?? key,
    // A job of a queue that is not attached, or one that is gone.
    status: task?.status ?? null,
    ...(task?.engineState !== undefined && { engineState: task.engineState }),
    children: children.map((child) => nodeOf(child, tasks)),
    more,
  };
}

/** Children that have ended and that have not, as many as are shown. */
async function childrenOf(queues: Parts['queues'], key: string): Promise<{ found: string[]; more: number }> {
  const { queue, jobId } = partsOf(key);
  const { keys, total } = (await queues.get(queue)?.children(jobId, most.children)) ?? { keys: [], total: 0 };
  return { found: keys.sort().map((child) => taskOfKey(queues, child)), more: Math.max(0, total - keys.length) };
}
