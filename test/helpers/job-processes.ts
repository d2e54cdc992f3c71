import { afterEach, beforeEach } from '@jest/globals';
import { Redis } from 'ioredis';
import { JobEngine } from '../../src/engines/bullmq/job-engine.js';
import { TaskManager } from '../../src/manager.js';
import { loggerOption } from '../../src/options.js';
import type { TaskDetail } from '../../src/tasks/types.js';
import { type Child, startScript } from './process.js';
import { RedisServer } from './redis.js';
import { waitFor } from './wait.js';

/** In milliseconds. It is short, so that a test notices a crash within seconds. */
const quickLocks = { lockDuration: 1500, stalledInterval: 200 };

/** A Redis server for each test, and processes that run tasks as BullMQ jobs on it. */
export class JobProcesses {
  redis!: RedisServer;
  children: Child[] = [];
  managers: TaskManager[] = [];

  /** Starts a process that runs tasks, or that runs none with `run: false`. */
  async worker(
    options: {
      run?: boolean;
      concurrency?: number;
      amount?: number;
      prefix?: string;
      port?: number;
    } = {},
  ): Promise<Child> {
    const child = startScript(
      'job-worker.js',
      JSON.stringify({ port: this.redis.port, ...quickLocks, ...options }),
    );
    this.children.push(child);
    await waitFor(() => child.lines.includes('started'), 30);
    return child;
  }

  /** Makes a task manager in this process. It runs no task until it is started. */
  manager(
    logger: Parameters<typeof loggerOption>[1] = false,
    prefix = 'jobs',
    port = this.redis.port,
  ): TaskManager {
    const made = new TaskManager({ engine: this.engine(logger, prefix, port), logger });
    this.managers.push(made);
    return made;
  }

  engine(
    logger: Parameters<typeof loggerOption>[1] = false,
    prefix = 'jobs',
    port = this.redis.port,
  ): JobEngine {
    return new JobEngine({
      connection: { host: '127.0.0.1', port },
      ...{ prefix, logger: loggerOption('logger', logger), ...quickLocks },
      kept: { age: 604_800, count: 100_000 },
      statistics: { minutes: 604_800_000, hours: 34_560_000_000 },
    });
  }

  /** Makes a client of the same Redis server. The caller disconnects it. */
  client(): Redis {
    return new Redis(this.redis.connection);
  }

  /** Kills a process without a chance to clean up. */
  async kill(child: Child): Promise<void> {
    child.process.kill('SIGCONT');
    child.process.kill('SIGKILL');
    await child.ended;
  }

  async end(): Promise<void> {
    await Promise.all(this.children.map((child) => this.kill(child)));
    await Promise.all(this.managers.map((each) => each.stop({ timeout: 0.1 })));
    await this.redis.remove();
  }
}

/** Returns the lines of a process that begin with a word, without the word. */
export function said(child: Child, word: string): string[] {
  return child.lines
    .filter((line) => line.startsWith(`${word} `))
    .map((line) => line.slice(word.length + 1));
}

/** Resolves when a task is in a state. */
export function inState(
  tasks: TaskManager,
  id: string,
  status: TaskDetail['status'],
  seconds = 20,
): Promise<TaskDetail> {
  return waitFor(async () => {
    const task = await tasks.get(id).catch(() => undefined);
    return task?.status === status ? task : undefined;
  }, seconds);
}

/** Makes processes for each test of a file. */
export function useJobProcesses(): JobProcesses {
  const processes = new JobProcesses();
  beforeEach(async () => {
    processes.redis = await RedisServer.start();
    processes.children = [];
    processes.managers = [];
  });
  afterEach(() => processes.end());
  return processes;
}
