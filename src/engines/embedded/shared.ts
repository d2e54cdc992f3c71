import type { Logger } from '../../options.js';
import type { Reader } from '../tables/read/reader.js';
import type { Clock } from './clock.js';
import type { GroupCommit } from './group-commit.js';
import type { Transitions } from './transitions.js';

/** What the parts of an engine share before its tables are open. */
export interface Shared {
  /** The id of this process. */
  owner: string;
  clock: Clock;
  logger: Logger;
  transitions: Transitions;
  /** Checks for tasks to run. */
  wake(): void;
}

/** The open tables, as the parts of an engine use them. */
export interface Tables {
  reader: Reader;
  commits: GroupCommit;
}
