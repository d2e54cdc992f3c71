import type { Command, CommandBy, Outcome } from '../../../tasks/commands.js';
import { pendingSummary } from '../jobs/job-view.js';
import type { Scheduler } from './scheduler.js';

/** Runs a command on a schedule. */
export async function controlSchedule(
  scheduler: Scheduler,
  { action, schedule }: Extract<Command, { schedule: string }>,
  by: CommandBy,
): Promise<Outcome> {
  if (action === 'pause') return { results: [], known: await scheduler.pause(schedule, by) };
  if (action === 'resume') return { results: [], known: await scheduler.resume(schedule) };
  if (action === 'remove') return { results: [], known: await scheduler.remove(schedule) };
  const made = await scheduler.run(schedule);
  if (!made) return { results: [], known: false };
  return { results: [{ id: made.id, ok: true, task: pendingSummary(made) }], known: true };
}
