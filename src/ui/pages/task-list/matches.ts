import type { TaskSummary } from '../../../client/client.js';
import type { Filter } from '../../state/address.js';

/**
 * Whether a task matches the filters, as far as its row shows. A search covers only the fields of
 * the row. Any scheduled task matches a schedule, because the row does not name it.
 */
export function matches(task: TaskSummary, filter: Filter, now: number): boolean {
  const { status, name, queue, tag, fingerprint, schedule, q, from, to } = filter;
  return (
    (status.length === 0 || status.includes(task.status)) &&
    (name === undefined || task.name === name) &&
    (queue === undefined || task.queue === queue) &&
    (fingerprint === undefined || task.fingerprint === fingerprint) &&
    (schedule === undefined || task.source === 'scheduled') &&
    tag.every((each) => hasTag(task, each)) &&
    (q === undefined || hasWords(task, q)) &&
    (from === undefined || Date.parse(task.createdAt) >= momentOf(from, now)) &&
    (to === undefined || Date.parse(task.createdAt) < momentOf(to, now))
  );
}

function hasTag({ tags }: TaskSummary, tag: string): boolean {
  const colon = tag.indexOf(':');
  return colon < 0 ? Object.hasOwn(tags, tag) : tags[tag.slice(0, colon)] === tag.slice(colon + 1);
}

function hasWords({ id, name, tags, error }: TaskSummary, q: string): boolean {
  const words = q.toLowerCase().split(/\s+/).filter(Boolean);
  const held = [name, ...Object.entries(tags).flat(), error?.name, error?.message]
    .join(' ')
    .toLowerCase();
  return id.startsWith(q.toLowerCase()) || words.every((word) => held.includes(word));
}

const units = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Returns a time from the address (`-6h` or ISO 8601) in Unix milliseconds. */
function momentOf(text: string, now: number): number {
  const [, amount, unit] = /^-(\d+)([smhd])$/.exec(text) ?? [];
  return amount === undefined
    ? Date.parse(text)
    : now - Number(amount) * units[unit as keyof typeof units];
}
