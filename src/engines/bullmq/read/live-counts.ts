import { type TaskStatus, taskStatuses } from '../../../tasks/types.js';
import type { Live } from '../../figures.js';
import { type CountSource, readCounts } from './counts.js';
import type { WindowModel } from './window-model.js';

/**
 * Counts the present tasks by name, queue and state. BullMQ counts by queue and not by name, so
 * tasks outside the window are counted under an empty name.
 */
export async function readLive(source: CountSource, window: WindowModel): Promise<Live[]> {
  const inWindow = await window.live();
  const entries = source.catalog.all();
  const labels = [...new Set(entries.map(({ label }) => label))];
  const live: Live[] = [...inWindow];
  for (const queue of labels) {
    const counts = await readCounts(
      source,
      entries.filter(({ label }) => label === queue),
    );
    for (const status of taskStatuses) {
      const beyond = counts[status] - countOf(inWindow, queue, status);
      if (beyond !== 0) live.push({ name: beyondWindow, queue, status, n: beyond });
    }
  }
  return live;
}

/** The name under which tasks outside the window are counted. No task has an empty name. */
const beyondWindow = '';

function countOf(live: readonly Live[], queue: string, status: TaskStatus): number {
  return live.reduce((sum, each) => (each.queue === queue && each.status === status ? sum + each.n : sum), 0);
}

/** Counts the tasks of some failure groups that are failed now, in the window only. */
export async function countFailed(window: WindowModel, fingerprints: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const counts = await Promise.all(fingerprints.map((fingerprint) => window.count({ fingerprint, status: ['failed'] })));
  return new Map(fingerprints.map((fingerprint, n) => [fingerprint, counts[n]?.n ?? 0]));
}
