import { confirmed } from '../../kit/dialog.js';
import { plural } from '../../kit/formats.js';
import { notify, showError } from '../../kit/notices.js';
import { client } from '../../state/bootstrap.js';

/** Asks the user to confirm, and pauses a queue. */
export function pauseQueue(name: string, running: number): Promise<void> {
  return confirmed({
    title: `Pause ${name}?`,
    body: () => (
      <p>
        Tasks of <em>{name}</em> wait until the queue is resumed.{' '}
        {running > 0 && `${plural(running, 'running task')} finish.`} Everybody who has the
        dashboard open sees that it is paused, by whom and why.
      </p>
    ),
    button: () => 'Pause queue',
    asksReason: true,
    async act(reason) {
      await client.pauseQueue(name, { reason });
      notify(`${name} is paused.`, { undo: () => resumeQueue(name) });
    },
  });
}

export async function resumeQueue(name: string): Promise<void> {
  try {
    await client.resumeQueue(name);
    notify(`${name} is resumed.`);
  } catch (error) {
    showError(error);
  }
}
