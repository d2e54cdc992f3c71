import type { CommandBy } from '../../tasks/commands.js';
import type { Pause } from '../../tasks/queue-state.js';
import { storedObject } from './connection/stored-object.js';
import { isoTime } from './jobs/job-view.js';

/** Returns a new pause by a user, as it is stored. */
export function pauseBy({ actor, reason }: CommandBy): Pause {
  return { by: actor, at: new Date().toISOString(), reason: reason ?? null };
}

/**
 * Parses the pause of a queue or a schedule. A part that cannot be read gets a default: the queue
 * or the schedule is paused, whatever the text says.
 */
export function pauseOf(text: string): Pause {
  const { by, at, reason } = storedObject(text);
  const isTime = typeof at === 'string' && Number.isFinite(Date.parse(at));
  return {
    by: typeof by === 'string' ? by : '',
    at: isTime ? at : isoTime(0),
    reason: typeof reason === 'string' ? reason : null,
  };
}
