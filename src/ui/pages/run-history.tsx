import { useEffect, useState } from 'preact/hooks';
import type { TaskSummary } from '../../client/client.js';
import { serverNow } from '../kit/clock.js';
import { relative } from '../kit/formats.js';
import { listen } from '../live/connection.js';
import { client } from '../state/bootstrap.js';
import { ChangeLink } from '../state/links.js';

const endings = ['success', 'failed', 'interrupted', 'cancelled'] as const;

/** Minimum number of milliseconds between two loads while runs end. */
const pause = 3000;

/**
 * Shows the last runs of a function or of one of its schedules as links to their tasks. The newest
 * run is on the right.
 */
export function RunHistory({
  name,
  schedule,
  limit,
}: {
  name: string;
  schedule?: string;
  limit: number;
}) {
  const [runs, setRuns] = useState<readonly TaskSummary[]>([]);
  useEffect(() => {
    const controller = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const load = async (): Promise<void> => {
      const of = schedule === undefined ? { name } : { schedule };
      const { items } = await client.list(
        { ...of, status: [...endings], limit },
        controller.signal,
      );
      setRuns([...items].reverse());
    };
    inTurn(load);
    const unlisten = listen({
      tasks({ upserts }) {
        if (
          timer !== undefined ||
          !upserts.some((task) => task.name === name && task.endedAt !== null)
        )
          return;
        timer = setTimeout(() => {
          timer = undefined;
          inTurn(load);
        }, pause);
      },
    });
    return () => {
      controller.abort();
      clearTimeout(timer);
      unlisten();
    };
  }, [name, schedule, limit]);
  if (runs.length === 0) return <span class="faint">none yet</span>;
  return (
    <span class="run-history">
      {runs.map(({ id, status, createdAt }) => (
        <ChangeLink
          key={id}
          change={{ task: id }}
          class={`mark ${status}`}
          title={`${status}, ${relative(createdAt, serverNow())}`}
        >
          <span class="unseen">{`${status}, ${relative(createdAt, serverNow())}`}</span>
        </ChangeLink>
      ))}
    </span>
  );
}

let queue: Promise<void> = Promise.resolve();

/**
 * Loads run histories one after the other, so that fifty rows do not send fifty requests at once.
 * If a run history cannot be loaded, it is not shown.
 */
function inTurn(load: () => Promise<void>): void {
  queue = queue.then(load).catch(() => {});
}
