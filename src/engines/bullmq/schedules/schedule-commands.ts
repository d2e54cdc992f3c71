import { wrongType } from '../../../options.js';
import type { Command, CommandBy, Outcome } from '../../../tasks/commands.js';
import { pendingSummary } from '../jobs/job-view.js';
import type { Scheduler } from './scheduler.js';

/** Runs a command on a schedule. It calls `changed` after the first of its steps. */
export async function controlSchedule(
  scheduler: Scheduler,
  { action, schedule }: Extract<Command, { schedule: string }>,
  by: CommandBy,
  changed: () => void,
): Promise<Outcome> {
  if (action === 'pause')
    return { results: [], known: await scheduler.pause(schedule, changed, by) };
  if (action === 'resume') return { results: [], known: await scheduler.resume(schedule, changed) };
  if (action === 'remove') return { results: [], known: await scheduler.remove(schedule, changed) };
  // A JavaScript caller that uses an engine directly is not protected by types.
  if (action !== 'run') throw wrongType('action', action, 'pause, resume, run or remove');
  const task = await scheduler.run(schedule, changed);
  return task
    ? { results: [{ id: task.id, ok: true, task: pendingSummary(task) }], known: true }
    : { results: [], known: false };
}
