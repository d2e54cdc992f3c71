import { hostname } from 'node:os';
import { version } from '../package-files.js';
import { appFolder } from './app-folder.js';
import type { Stuck } from './stuck-attempts.js';

/** What a process tells the other processes about itself. */
export interface WorkerRow extends Stuck {
  owner: string;
  host: string;
  pid: number;
  version: string;
  slots: number;
  /** Unix milliseconds. */
  startedAt: number;
  /** Folder of the app. */
  app: string;
  /** Names of the tasks and of the schedules that it defines. */
  tasks: readonly string[];
  schedules: readonly string[];
}

/** What a process defines, for the other processes. */
export interface Definitions {
  tasks: readonly string[];
  schedules: readonly string[];
}

/** Describes this process for the other processes. */
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
