import type { Redis } from 'ioredis';
import type { Logger } from '../../../options.js';

/** Warns if Redis writes nothing to its disk. Says nothing if Redis does not tell. */
export async function warnIfVolatile(redis: Redis, logger: Logger): Promise<void> {
  if (await isVolatile(redis).catch(() => false))
    logger.warn({}, 'Redis keeps its data in memory only: a restart of it loses all tasks, sessions and logouts; set "appendonly yes"');
}

async function isVolatile(redis: Redis): Promise<boolean> {
  const info = await redis.info('persistence');
  if (!/^aof_enabled:0/m.test(info)) return false;
  // The user may not be allowed to ask, so this is only asked if it decides.
  const [, save] = (await redis.config('GET', 'save')) as string[];
  return save === '';
}
