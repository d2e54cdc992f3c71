import type { Redis } from 'ioredis';

/**
 * Sends commands in one pipeline.
 *
 * @throws the first error that Redis answers.
 */
export async function send(
  redis: Redis,
  commands: readonly (readonly (string | number)[])[],
): Promise<unknown[]> {
  if (commands.length === 0) return [];
  const answers = await redis.pipeline(commands.map((command) => [...command])).exec();
  return (answers ?? []).map(([error, value]) => {
    if (error) throw error;
    return value;
  });
}
