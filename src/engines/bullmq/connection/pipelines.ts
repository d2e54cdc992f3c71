import type { ChainableCommander, Redis } from 'ioredis';

/**
 * Returns the answers of a pipeline.
 *
 * @throws the first error among them.
 */
export async function answersOf(pipeline: ChainableCommander): Promise<unknown[]> {
  const answers = (await pipeline.exec()) ?? [];
  return answers.map(([error, value]) => {
    if (error) throw error;
    return value;
  });
}

/**
 * Sends commands in one pipeline.
 *
 * @throws the first error that Redis answers.
 */
export async function send(
  redis: Redis,
  commands: readonly (readonly (string | number)[])[],
): Promise<unknown[]> {
  return commands.length === 0
    ? []
    : answersOf(redis.pipeline(commands.map((command) => [...command])));
}
