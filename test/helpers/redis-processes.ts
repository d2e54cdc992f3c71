import { afterEach, beforeEach } from '@jest/globals';
import { type BullmqEngineOptions, bullmqEngine } from '../../src/engines/bullmq/engine.js';
import { TaskManager } from '../../src/manager.js';
import { cheapHash, password, secretKey } from './passwords.js';
import { type Child, startScript } from './process.js';
import { RedisServer } from './redis.js';
import { waitFor } from './wait.js';

/** A Redis server for each test, and the processes that use it. */
export class RedisProcesses {
  redis!: RedisServer;
  children: Child[] = [];
  managers: TaskManager[] = [];

  get place(): string {
    return `redis://127.0.0.1:${this.redis.port}`;
  }

  /** Makes a manager in this process. */
  manager(logger: BullmqEngineOptions['logger'] = false): TaskManager {
    const made = new TaskManager({
      engine: bullmqEngine({ connection: this.place, logger }),
      logger,
    });
    this.managers.push(made);
    return made;
  }

  worker(): Child {
    const child = startScript('worker.js', this.place, 'run');
    this.children.push(child);
    return child;
  }

  async startedWorkers(amount: number): Promise<Child[]> {
    const workers = Array.from({ length: amount }, () => this.worker());
    await Promise.all(workers.map((child) => waitFor(() => child.lines.includes('started'))));
    return workers;
  }

  /** Starts a web process and resolves to the URL of its tasks. */
  async web(): Promise<string> {
    const child = startScript('web.js', this.place, secretKey, `admin ${cheapHash(password)}`);
    this.children.push(child);
    return `${await waitFor(() => child.lines.find((line) => line.startsWith('http')), 30)}/tasks`;
  }

  async end(): Promise<void> {
    for (const child of this.children) child.process.kill('SIGKILL');
    await Promise.all(this.children.map(({ ended }) => ended));
    await Promise.all(this.managers.map((each) => each.stop({ timeout: 0.1 })));
    await this.redis.remove();
  }
}

/** Makes processes for each test of a file. */
export function useRedisProcesses(): RedisProcesses {
  const processes = new RedisProcesses();
  beforeEach(async () => {
    processes.redis = await RedisServer.start();
    processes.children = [];
    processes.managers = [];
  });
  afterEach(() => processes.end());
  return processes;
}
