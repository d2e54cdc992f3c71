import { confirmed } from '../../kit/dialog.js';
import { notify, showError } from '../../kit/notices.js';
import { client } from '../../state/bootstrap.js';
import { linkTo } from '../../state/view.js';

/** Asks the user to confirm, and runs a schedule now. */
export function runSchedule(name: string, last: string): Promise<void> {
  return confirmed({
    title: `Run ${name} now?`,
    body: () => (
      <p>
        Run <em>{name}</em> once now, in addition to its schedule? {last}
      </p>
    ),
    button: () => 'Run now',
    async act() {
      const task = await client.runSchedule(name);
      notify(`${name} has been started.`, {
        link: { text: 'Open the task', href: linkTo({ task: task.id }) },
      });
    },
  });
}

/** Asks the user to confirm, and pauses a schedule. */
export function pauseSchedule(name: string): Promise<void> {
  return confirmed({
    title: `Pause ${name}?`,
    body: () => (
      <p>
        <em>{name}</em> does not run until it is resumed. Runs that it misses are not caught up.
      </p>
    ),
    button: () => 'Pause schedule',
    asksReason: true,
    async act(reason) {
      await client.pauseSchedule(name, { reason });
      notify(`${name} is paused.`, { undo: () => resumeSchedule(name) });
    },
  });
}

/** Asks the user to confirm, and removes a schedule that no process defines. */
export function removeSchedule(name: string): Promise<void> {
  return confirmed({
    title: `Remove ${name}?`,
    body: () => (
      <p>
        No running process defines <em>{name}</em>, so it does not run. Its tasks stay. If a process
        defines it again, it reappears.
      </p>
    ),
    button: () => 'Remove schedule',
    asksReason: true,
    async act(reason) {
      await client.removeSchedule(name, { reason });
      notify(`${name} has been removed.`);
    },
  });
}

export async function resumeSchedule(name: string): Promise<void> {
  try {
    await client.resumeSchedule(name);
    notify(`${name} is resumed.`);
  } catch (error) {
    showError(error);
  }
}
