import { createRequire } from 'node:module';
import * as bullmq from 'bullmq';
import { TaskflowError } from '../../../errors.js';

/** Oldest supported version of BullMQ. */
const oldest = [6, 7] as const;

/*
 * An import by name of a class that an older version lacks fails before any code runs, with a
 * SyntaxError that names neither the version nor what to do. So this module imports everything, and
 * the others take the class from here.
 */
const found = installedVersion();
if (isTooOld(found) || !('RedisQueueBackend' in bullmq))
  throw new TaskflowError(
    'NOT_SUPPORTED',
    `koa-taskflow/bullmq needs bullmq ${oldest.join('.')} or newer, but found ` +
      `${found ?? 'an older version'}; run "npm install bullmq@${oldest[0]}"`,
  );

/** BullMQ's own access to Redis for one queue. */
export const { RedisQueueBackend } = bullmq;
export type RedisQueueBackend = bullmq.RedisQueueBackend;

function installedVersion(): string | undefined {
  try {
    const { version } = createRequire(import.meta.url)('bullmq/package.json') as {
      version?: unknown;
    };
    return typeof version === 'string' ? version : undefined;
  } catch {
    return undefined;
  }
}

function isTooOld(version: string | undefined): boolean {
  const [major = 0, minor = 0] = (version ?? oldest.join('.')).split('.').map(Number);
  return major < oldest[0] || (major === oldest[0] && minor < oldest[1]);
}
