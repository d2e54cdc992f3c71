import type { ShownTask } from '../../../client/client.js';
import { now } from '../../kit/clock.js';
import { duration } from '../../kit/formats.js';
import { symbols } from '../../kit/statuses.js';
import { show, view } from '../../state/view.js';
import { setFilter } from './log.js';

/** A wait or an attempt. */
interface Stretch {
  kind: 'wait' | ShownTask['attempts'][number]['status'];
  seconds: number;
  attempt?: number;
  error?: string | undefined;
}

/** Returns the waits and attempts of a task in order. */
function stretches(task: ShownTask, present: number): Stretch[] {
  const found: Stretch[] = [];
  let from = Date.parse(task.createdAt);
  for (const { number, status, startedAt, endedAt, error } of task.attempts) {
    const start = Date.parse(startedAt);
    const end = endedAt === null ? present : Date.parse(endedAt);
    if (start > from) found.push({ kind: 'wait', seconds: (start - from) / 1000 });
    found.push({
      kind: status,
      seconds: Math.max(0, end - start) / 1000,
      attempt: number,
      error: error?.message,
    });
    from = end;
  }
  if (task.status === 'pending' && present > from)
    found.push({ kind: 'wait', seconds: (present - from) / 1000 });
  return found;
}

const symbolOf = (kind: Stretch['kind']): string => (kind === 'wait' ? '' : symbols[kind]);

/**
 * The attempts of a task and the waits between them. If the user presses an attempt, the panel
 * shows only its error and log lines.
 */
export function Timeline({ task }: { task: ShownTask }) {
  const parts = stretches(task, now.value);
  const all = parts.reduce((sum, { seconds }) => sum + seconds, 0) || 1;
  const chosen = view.value.attempt;
  const choose = (attempt: number): void => {
    const next = attempt === chosen ? undefined : attempt;
    show({ attempt: next }, { replace: true });
    setFilter({ attempt: next });
  };
  if (task.attempts.length === 0) return null;
  return (
    <section aria-label="Attempts">
      <h3>
        Attempts{' '}
        <span class="faint">
          {task.attempt} of {task.maxAttempts}
        </span>
      </h3>
      <ol class="timeline">
        {parts.map(({ kind, seconds, attempt, error }, n) => {
          const share = { flexGrow: Math.max(0.02, seconds / all) };
          const key = `${n}`;
          if (attempt === undefined)
            return (
              <li key={key} class="wait" style={share} title={`waited ${duration(seconds)}`}>
                <span>wait {duration(seconds)}</span>
              </li>
            );
          return (
            <li key={key} class={kind} style={share}>
              <button
                type="button"
                aria-pressed={attempt === chosen}
                title={error}
                onClick={() => choose(attempt)}
              >
                <span aria-hidden="true">{symbolOf(kind)}</span> {attempt}{' '}
                <span class="unseen">{kind}</span> <span class="faint">{duration(seconds)}</span>
              </button>
            </li>
          );
        })}
      </ol>
    </section>
  );
}
