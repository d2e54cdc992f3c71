import { createHash } from 'node:crypto';

/** What a job is called outside: ids of jobs are unique within their queue alone. */
export function keyOf(queue: string, jobId: string): string {
  return `${queue}:${jobId}`;
}

/** The queue and the job of a key: names of queues have no colon, ids of jobs may. */
export function partsOf(key: string): { queue: string; jobId: string } {
  const at = key.indexOf(':');
  return { queue: key.slice(0, at), jobId: key.slice(at + 1) };
}

/** The UUIDv7 under which a job is kept: always the same for a job, and in the order of creation. `createdAt` is Unix milliseconds. */
export function idOfJob(key: string, createdAt: number): string {
  const time = Math.max(0, Math.min(2 ** 48 - 1, Math.floor(createdAt)))
    .toString(16)
    .padStart(12, '0');
  const hash = createHash('sha256').update(key).digest('hex');
  const variant = ((Number.parseInt(hash.slice(3, 4), 16) & 0x3) | 0x8).toString(16);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hash.slice(0, 3)}-${variant}${hash.slice(4, 7)}-${hash.slice(7, 19)}`;
}
