import { TaskflowError } from '../../errors.js';
import type { RedisConnection } from './redis-connection.js';

/** What is moved, and where to. */
export interface Move {
  /** Path of the file. */
  from: string;
  to: RedisConnection;
  prefix: string;
}

/** What was moved. */
export interface Moved {
  tasks: number;
  waiting: number;
  entries: number;
  file: string;
}

/** Being rewritten. */
export function moveToRedis(_move: Move): Promise<Moved> {
  return Promise.reject(new TaskflowError('NOT_SUPPORTED', 'not yet'));
}
