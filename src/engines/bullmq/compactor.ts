import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Redis } from 'ioredis';
import type { Logger } from '../../options.js';
import { packageFile } from '../../package-files.js';
import type { FromCompactThread, ToCompactThread } from './compact-thread.js';
import { isWhole, type JournalKeys, pieceBytes, readEntries, readState, snapshotContent, writeSnapshot } from './journal-log.js';
import { plainError, withinTime } from './redis-connection.js';
import type { Replica } from './replica.js';

/** Characters of entries after which a snapshot is made, at the least, and entries that are handed over at once. */
const sizes = { least: 1_000_000, entries: 200 };
/** Milliseconds between two looks whether one is due, and after a word of who makes one that another process may. */
const times = { look: 10_000, lease: 30_000 };

interface CompactorParts {
  redis: Redis;
  keys: JournalKeys;
  logger: Logger;
}

const threadFile = packageFile('dist/engines/bullmq/compact-thread.js');

/**
 * Keeps a journal short: now and then one process applies it to the last snapshot, on a thread of its own, and stores what
 * comes of it in its place. It does so when the entries are as much as the snapshot, so that what it costs is in proportion
 * to what was written.
 */
export class Compactor {
  readonly #parts: CompactorParts;
  readonly #least: number;
  #nextLook = 0;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(parts: CompactorParts, least = sizes.least) {
    this.#parts = parts;
    this.#least = least;
  }

  /** Looks, now and then, whether it is time. */
  consider(): void {
    const now = Date.now();
    if (this.#running || this.#closed || now < this.#nextLook) return;
    this.#nextLook = now + times.look;
    this.#running = this.#compactIfDue()
      // It will be tried again; without it nothing is wrong but the size of the journal.
      .catch((error: unknown) => {
        if (!this.#closed) this.#parts.logger.warn({ err: plainError(error) }, 'the journal of the tasks could not be made shorter now');
      })
      .finally(() => {
        this.#running = undefined;
      });
  }

  /** Puts the tables of this process in the place of a snapshot and entries that are lost. */
  async replaceBy(replica: Replica, { id: at, serial }: { id: string; serial: number }): Promise<void> {
    const { redis, keys, logger } = this.#parts;
    if ((await withinTime(redis.set(keys.compacting, at, 'PX', times.lease, 'NX'))) === null) return;
    const folder = mkdtempSync(join(tmpdir(), 'koa-taskflow-'));
    try {
      // Somebody may have made it shorter in the midst of the look.
      if (await withinTime(isWhole(redis, keys, await withinTime(readState(redis, keys))))) return;
      const path = join(folder, 'tasks.db');
      replica.copyTo(path);
      const upTo = Number(await withinTime(redis.hget(keys.state, 'bytes')));
      await writeSnapshot(redis, keys, { id: randomUUID(), at, serial, upTo }, createReadStream(path, { highWaterMark: pieceBytes }));
      logger.warn('the Redis has lost some of the journal of the tasks; what this process knows has taken its place');
    } finally {
      await redis.del(keys.compacting).catch(() => undefined);
      rmSync(folder, { recursive: true, force: true });
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  async #compactIfDue(): Promise<void> {
    const { redis, keys } = this.#parts;
    const { snapshot } = await withinTime(readState(redis, keys));
    const written = Number(await withinTime(redis.hget(keys.state, 'bytes'))) - (snapshot?.upTo ?? 0);
    if (written < Math.max(this.#least, snapshot?.bytes ?? 0)) return;
    const me = randomUUID();
    if ((await withinTime(redis.set(keys.compacting, me, 'PX', times.lease, 'NX'))) === null) return;
    const renewal = setInterval(() => void redis.pexpire(keys.compacting, times.lease).catch(() => undefined), times.lease / 3);
    try {
      await this.#compact();
    } finally {
      clearInterval(renewal);
      await redis.del(keys.compacting).catch(() => undefined);
    }
  }

  async #compact(): Promise<void> {
    const { redis, keys } = this.#parts;
    const folder = mkdtempSync(join(tmpdir(), 'koa-taskflow-'));
    const thread = new Worker(threadFile, { execArgv: [] });
    thread.unref();
    try {
      const { firstRev, snapshot } = await withinTime(readState(redis, keys));
      const upTo = Number(await withinTime(redis.hget(keys.state, 'bytes')));
      if (snapshot) {
        const path = join(folder, 'before.db');
        await writeFile(path, snapshotContent(redis, keys, snapshot.id));
        await tell(thread, { load: path });
      } else {
        await tell(thread, { firstRev });
      }
      const { serial: end } = await withinTime(readState(redis, keys));
      let [at, serial] = snapshot ? [snapshot.at, snapshot.serial] : ['0-0', 0];
      while (serial < end && !this.#closed) {
        const entries = await withinTime(readEntries(redis, keys, at, { block: undefined, count: sizes.entries }), 5000);
        const wrong = entries.find((entry, n) => entry.serial !== serial + 1 + n);
        if (wrong || entries.length === 0) throw new Error('the journal has lost entries');
        await tell(thread, { batches: entries.map(({ text }) => text) });
        [at, serial] = [entries.at(-1)?.id ?? at, serial + entries.length];
      }
      if (this.#closed) return;
      const path = join(folder, 'after.db');
      await tell(thread, { copyTo: path });
      await writeSnapshot(redis, keys, { id: randomUUID(), at, serial, upTo }, createReadStream(path, { highWaterMark: pieceBytes }));
    } finally {
      await thread.terminate();
      rmSync(folder, { recursive: true, force: true });
    }
  }
}

async function tell(thread: Worker, message: ToCompactThread): Promise<void> {
  const answer = once(thread, 'message') as Promise<[FromCompactThread]>;
  thread.postMessage(message);
  const [{ failed }] = await answer;
  if (failed !== undefined) throw new Error(failed);
}
