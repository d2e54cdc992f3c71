import type { QueueList } from '../../client/client.js';
import { Time } from '../kit/time.js';
import { may } from '../state/bootstrap.js';

type Pause = QueueList['items'][number]['pause'];

/** Shows that a queue or a schedule is paused, with the user, the time and the reason. */
export function PauseNote({ pause }: { pause: Pause }) {
  if (!pause) return null;
  return (
    <>
      <span class="pill warn">paused</span>
      <span class="under faint">
        by {pause.by || 'an unknown user'} since <Time at={pause.at} />
        {pause.reason && `: ${pause.reason}`}
      </span>
    </>
  );
}

/** The button that pauses or resumes a queue or a schedule. */
export function PauseButton({
  paused,
  pause,
  resume,
}: {
  paused: boolean;
  pause: () => void;
  resume: () => void;
}) {
  if (paused)
    return may('resume') ? (
      <button type="button" class="primary" onClick={resume}>
        Resume
      </button>
    ) : null;
  return may('pause') ? (
    <button type="button" onClick={pause}>
      Pause…
    </button>
  ) : null;
}
