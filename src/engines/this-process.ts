import { hostname } from 'node:os';
import { version } from '../package-files.js';
import { appFolder } from './app-folder.js';
import type { Stuck } from './stuck-attempts.js';

/** The entry of a process in the list of processes. */
export interface WorkerRow extends Stuck {
  owner: string;
  host: string;
  pid: number;
  version: string;
  slots: number;
  /** Unix milliseconds. */
  startedAt: number;
  /** The folder of the app. */
  app: string;
  /** Names of the tasks and schedules that the process defines. */
  tasks: readonly string[];
  schedules: readonly string[];
}

/** The tasks and schedules that a process defines. */
export interface Definitions {
  tasks: readonly string[];
  schedules: readonly string[];
}

/** Returns the entry of this process for the list of processes. */
export function describeWorker(
  owner: string,
  slots: number,
  { tasks, schedules }: Definitions,
): WorkerRow {
  return {
    ...{ owner, host: hostname(), pid: process.pid, version, slots, startedAt: Date.now() },
    ...{ stuck: 0, stuckAttempts: [], app: appFolder(), tasks, schedules },
  };
}
