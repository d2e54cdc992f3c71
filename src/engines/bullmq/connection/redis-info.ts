import type { Redis } from 'ioredis';
import type { Logger } from '../../../options.js';

/** Returns a field of the answer to INFO. */
export function infoField(info: string, name: string): string | undefined {
  return new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(info)?.[1];
}

/**
 * Warns if Redis writes nothing to its disk. If Redis does not say whether it does, there is no
 * warning.
 */
export async function warnIfVolatile(redis: Redis, logger: Logger): Promise<void> {
  if (await isVolatile(redis).catch(() => false))
    logger.warn(
      {},
      'Redis keeps its data in memory only: a restart loses all tasks, sessions and logouts; ' +
        'set "appendonly yes"',
    );
}

async function isVolatile(redis: Redis): Promise<boolean> {
  const info = await redis.info('persistence');
  if (infoField(info, 'aof_enabled') !== '0') return false;
  // The user may lack this permission, so the command is sent only if its answer matters.
  const [, save] = (await redis.config('GET', 'save')) as string[];
  return save === '';
}
