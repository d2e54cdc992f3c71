import type { Command, CommandBy, CommandResult, Outcome } from '../../../tasks/commands.js';
import type { TaskSummary } from '../../../tasks/types.js';
import { waitUnref } from '../../../waiting.js';
import { allowedStates, type BulkDeps, commandTasks, type TasksCommand } from '../../bulk.js';
import { type CallProgress, commanding } from '../connection/redis-calls.js';
import { type JobRef, keyOf, ofScheduler } from '../jobs/job-ids.js';
import { type JobState, statusOf, summaryOf } from '../jobs/job-view.js';
import type { CommandDeps } from './command-deps.js';
import { type SteppedJob, stepEach } from './each-job.js';
import type { Bond, StepAnswer } from './job-steps.js';
import { rerunTasks } from './reruns.js';
import { oldestTasks } from './stored-tasks.js';

/** Maximum milliseconds that a command waits for the read model to be filled. */
const longestFill = 10_000;
/** Maximum number of tasks that are read per step. */
const readAtOnce = 200;

/** A command in the form that is applied to each job. */
interface JobCommand {
  act(place: JobRef, n: number): Promise<StepAnswer>;
  /**
   * Returns the state of a job after the command. A waiting job may have any waiting state. Absent
   * if the command removes the job.
   */
  after?(before: JobState): JobState;
}

/** Whether something other than the state of the job forbids the action. */
function isForbidden(action: TasksCommand['action'], { state, bond }: StepAnswer): boolean {
  if (action === 'retry') return bond === 'duplicate' || bond === 'unfinished';
  if (action === 'run') return state === 'waiting-children';
  if (action === 'delete') return bond === 'scheduler' || bond === 'locked';
  return state !== 'active' && bond !== undefined;
}

const ofFlow = 'This job is part of a BullMQ flow. The flow would wait for it forever.';
const bonds: Record<Bond, string> = {
  scheduler: ofScheduler,
  parent: ofFlow,
  children: ofFlow,
  duplicate: 'A newer task has the same idempotencyKey.',
  unfinished: 'A child of this job in its BullMQ flow has not succeeded. Retry the child first.',
  locked: 'A worker still holds the task. Try again later.',
};

function conflict({ id, job, state }: SteppedJob, bond?: Bond): CommandResult {
  const status = statusOf(job, state);
  const detail = bond && { detail: bonds[bond] };
  return { id, ok: false, code: 'TASK_STATE_CONFLICT', status, ...detail };
}

/**
 * Runs commands on tasks, by id or by filter. A filter is answered from BullMQ's sets
 * (`stored-tasks.ts`) if they can answer it, and from the window of this process otherwise.
 * `JobSteps` then changes each job, and `reruns.ts` adds the job of a rerun. A running job is only
 * marked: the process that runs it, which `cancellations.ts` reaches, ends it.
 */
export async function controlTasks(
  deps: CommandDeps,
  command: TasksCommand | Extract<Command, { action: 'rerun' }>,
  by: CommandBy,
): Promise<Outcome> {
  if (command.action === 'rerun') return { results: await rerunTasks(deps, command) };
  return commandTasks(bulkDeps(deps, by), command, by);
}

function bulkDeps(deps: CommandDeps, by: CommandBy): BulkDeps {
  const { ask, reader } = deps;
  return {
    oldest: (filter, limit) => ask(() => oldestTasks(deps, filter, limit)),
    find: async (query) => {
      // It waits only before the first page, because the next pages follow within moments.
      if (query.after === undefined)
        await Promise.race([reader().then((window) => window.filled()), waitUnref(longestFill)]);
      return ask(async () => (await reader()).find(query));
    },
    count: (filter) => ask(async () => (await reader()).count(filter)),
    preview: (action, ids) => preview(deps, action, ids),
    allowed: (action, status) => allowedStates[action](status),
    act: ({ action }, ids, delays) =>
      ask((call) => act(deps, commandOf(deps, action, by, delays), ids, call), commanding),
  };
}

function commandOf(
  { steps }: CommandDeps,
  action: TasksCommand['action'],
  by: CommandBy,
  delays: readonly number[] | undefined,
): JobCommand {
  const at = Date.now();
  switch (action) {
    case 'cancel': {
      const who = JSON.stringify({ by: by.actor, at, reason: by.reason ?? null });
      return {
        act: (place) => steps.cancel(place, at, who),
        after: (before) => (before === 'active' ? before : 'failed'),
      };
    }
    case 'retry':
      return {
        act: (place, n) => steps.retry(place, at, delays?.[n] ?? 0),
        after: () => 'waiting',
      };
    case 'run':
      return { act: (place) => steps.run(place, at), after: () => 'waiting' };
    case 'delete':
      return { act: (place) => steps.remove(place) };
  }
}

/** Applies a command to a few jobs, in two round trips. */
async function act(
  deps: CommandDeps,
  command: JobCommand,
  ids: readonly string[],
  { sending, changed }: CallProgress,
): Promise<CommandResult[]> {
  const at = Date.now();
  const cancelling = new Set<string>();
  const step: JobCommand['act'] = (place, n) => {
    sending();
    return command.act(place, n);
  };
  try {
    return await stepEach(deps, ids, step, (stepped): CommandResult => {
      const { id, place, done, state, job, bond } = stepped;
      if (!done) return conflict(stepped, bond);
      changed();
      const after = command.after?.(state) ?? state;
      if (after === 'active') cancelling.add(keyOf(place.queue, place.jobId));
      const task = summaryOf(job, place, statusOf(job, after));
      if (command.after) notify(deps, task, at);
      return { id, ok: true, task };
    });
  } finally {
    if (cancelling.size > 0) deps.cancelHere(cancelling);
  }
}

async function preview(
  deps: CommandDeps,
  action: TasksCommand['action'],
  ids: readonly string[],
): Promise<CommandResult[]> {
  const { ask, steps } = deps;
  const results: CommandResult[] = [];
  for (let from = 0; from < ids.length; from += readAtOnce) {
    const some = ids.slice(from, from + readAtOnce);
    const look = (place: JobRef): Promise<StepAnswer> => steps.look(place, action);
    const seen = await ask(() => stepEach(deps, some, look, (job) => previewed(action, job)));
    results.push(...seen);
  }
  return results;
}

function previewed(action: TasksCommand['action'], seen: SteppedJob): CommandResult {
  const { id, place, state, job, bond } = seen;
  const status = statusOf(job, state);
  if (!allowedStates[action](status)) return conflict(seen);
  return isForbidden(action, seen)
    ? conflict(seen, bond)
    : { id, ok: true, task: summaryOf(job, place, status) };
}

function notify({ ended, observer }: CommandDeps, task: TaskSummary, at: number): void {
  const { status } = task;
  // A running task that is being cancelled has not changed its state yet.
  if (status === 'running') return;
  if (status === 'cancelled') ended({ ...task, at });
  const observing = observer();
  if (observing?.wants(status)) observing.tell(task);
}
