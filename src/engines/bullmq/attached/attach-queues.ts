import type { Queue } from 'bullmq';
import { type Named, type OptionsOf, optionSet, whole } from '../../../option-set.js';
import { loggerOption } from '../../../options.js';
import type { SharedStore } from '../../../store/shared-store.js';
import { checkedReader } from '../../../tasks/checked-source.js';
import { readCommand } from '../../../tasks/read-command.js';
import type { TaskSource } from '../../../tasks/source.js';
import { knownTarget } from '../../../tasks/unknown-target.js';
import { storePrefix } from '../store/redis-store.js';
import { AttachedEngine } from './engine.js';
import { queuesOption } from './queues-option.js';

const attachOptions = optionSet({
  /**
   * How many of the newest ended jobs are read when the queues are attached, per queue and outcome.
   * 0 to 1,000,000, default 10,000.
   */
  history: whole({ default: 10_000, max: 1_000_000 }),
  /**
   * How many ended jobs are kept in memory, including jobs that BullMQ has removed since.
   * 1 to 10,000,000, default 100,000.
   */
  keep: whole({ default: 100_000, min: 1, max: 10_000_000 }),
  /**
   * The prefix of this app's Redis keys for sessions, revocations, login throttle and audit log,
   * which begin with `{namespace}:`. Give each app on the same Redis its own namespace. All
   * processes of one app use the same one. If a login with another `secretKey` already uses the
   * namespace, requests get 503 and the log says why. It is independent of BullMQ's `prefix`.
   * Default `koa-taskflow`.
   */
  namespace: storePrefix,
  /** The app's pino logger. `false` turns logging off. */
  logger: loggerOption,
});

/** Options of {@link attachQueues}. */
export interface AttachOptions extends OptionsOf<typeof attachOptions>, Named {}

/**
 * The jobs of attached BullMQ queues as tasks. `taskAdmin`, `dashboardRoutes` and `taskRoutes`
 * accept this in place of a `TaskManager`.
 */
export interface AttachedQueues extends TaskSource {
  /**
   * Stores what the login needs: sessions, failed logins and the audit log. All processes share it,
   * because it uses the server of the first queue. If that queue is on Redis Cluster, or if its
   * client is not ioredis, the store is in the memory of this process.
   */
  readonly store: SharedStore;
  /**
   * Stops reading the queues and closes the connections that `attachQueues` has opened. The queues
   * stay open.
   */
  close(): Promise<void>;
}

/**
 * Shows and controls BullMQ queues that other programs fill and process. It reads the queues once,
 * then follows their events, and writes nothing to a queue until a user runs a command. Lists read
 * only what they show. When a user opens a job, its data, its result and its log are read, at most
 * 2 MiB of each.
 *
 * @throws TypeError if `queues` is not a list of BullMQ queues on Redis, or if two queues have the
 * same name. TypeError or RangeError for a wrong option.
 * @example
 * ```ts
 * const tasks = attachQueues([new Queue('mail', { connection })]);
 * app.use(taskAdmin(tasks, { auth: ['admin', 'secret'] }));
 * ```
 */
export function attachQueues(queues: readonly Queue[], options?: AttachOptions): AttachedQueues {
  const settings = attachOptions.read(options, { where: 'attachQueues' });
  const attached = new AttachedEngine(queuesOption(queues), settings);
  return {
    ...checkedReader(attached, () => Date.now()),
    can: attached.can,
    get store() {
      return attached.store;
    },
    definitions: () => attached.definitions(),
    control: async (command, by) => {
      const [checked, who] = await readCommand(command, by, Date.now());
      return knownTarget(checked, await attached.control(checked, who), attached);
    },
    close: () => attached.close(),
  };
}
