import { useEffect, useState } from 'preact/hooks';
import type { TaskSummary } from '../../client/client.js';
import { serverNow } from '../clock.js';
import { client } from '../facts.js';
import { relative } from '../format.js';
import { ChangeLink } from '../links.js';

/** The last runs of a schedule or a function, the newest on the right; each leads to its task. */
export function Strip({ of, most }: { of: { name: string } | { schedule: string }; most: number }) {
  const [runs, setRuns] = useState<readonly TaskSummary[]>([]);
  const key = JSON.stringify(of);
  useEffect(() => {
    const controller = new AbortController();
    inTurn(async () => {
      const query = JSON.parse(key) as object;
      const { items } = await client.list(
        { ...query, status: ['success', 'failed', 'interrupted', 'cancelled'], limit: most },
        controller.signal,
      );
      setRuns([...items].reverse());
    });
    return () => controller.abort();
  }, [key, most]);
  if (runs.length === 0) return <span class="faint">none yet</span>;
  return (
    <span class="strip">
      {runs.map(({ id, status, createdAt }) => (
        <ChangeLink key={id} change={{ task: id }} class={`mark ${status}`} title={`${status}, ${relative(createdAt, serverNow())}`}>
          <span class="unseen">{`${status}, ${relative(createdAt, serverNow())}`}</span>
        </ChangeLink>
      ))}
    </span>
  );
}

let queue: Promise<void> = Promise.resolve();

/** One after the other: a page of fifty rows does not send fifty requests at once. A strip that cannot be loaded is left out. */
function inTurn(load: () => Promise<void>): void {
  queue = queue.then(load).catch(() => {});
}
