import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { TaskflowError } from '../../errors.js';
import type { Logger } from '../../options.js';
import type { TaskStatus } from '../../tasks/types.js';
import { layoutVersion } from '../embedded/database.js';
import type { BatchResult } from '../embedded/write.js';
import type { WritePort } from '../embedded/write-port.js';
import type { HomeNews } from '../table-home.js';
import { Compactor } from './compactor.js';
import { isWhole, type JournalEntry, type JournalKeys, readEntries, readState, snapshotContent } from './journal-log.js';
import { plainError, whenReady, withinTime } from './redis-connection.js';
import { redisScript, runScript } from './redis-script.js';
import type { JournalBatch } from './replica.js';
import { Replica } from './replica.js';

/** Milliseconds that a batch waits for the Redis before its caller is told that it could not be written. */
const patience = 2000;
/** Milliseconds that an answer may take, besides one for so many characters that are sent. */
const sending = { answer: 900, characters: 10_000 };
/** Seconds that the number of the last batch of a process is kept. */
const writerSeconds = 3600;
/** Milliseconds that one question for entries waits in the Redis, and beyond which the connection is taken for dead. */
const reading = { block: 2000, dead: 4000, entries: 50 };
/** Milliseconds between two tries of what failed. */
const pause = 200;

/**
 * Adds a batch, once however often it is sent. KEYS: the journal, its state, the last number of the writer. ARGV: the
 * writer, the number of its batch, the batch, the layout of its tables.
 */
const append = redisScript(`
local last = redis.call('GET', KEYS[3])
if last and tonumber(last) >= tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[3], ARGV[2], 'EX', ${writerSeconds})
local serial = redis.call('HINCRBY', KEYS[2], 'serial', 1)
redis.call('HINCRBY', KEYS[2], 'bytes', #ARGV[3])
redis.call('XADD', KEYS[1], '*', 's', serial, 'by', ARGV[1], 'n', ARGV[2], 'b', ARGV[3], 'l', ARGV[4])
return serial
`);

/** A batch on its way. */
interface Proposal {
  n: number;
  text: string;
  wanted: readonly TaskStatus[];
  /** It may have reached the Redis. */
  sent: boolean;
  settle(result: BatchResult): void;
  fail(error: Error): void;
}

interface JournalOptions {
  /** For commands; and one that waits for answers, which nobody else may use. */
  redis: Redis;
  blocking: Redis;
  keys: JournalKeys;
  logger: Logger;
  news: HomeNews;
  /** Told of each batch of this process, once it is in the tables. `before` is the number of the last change before it. */
  applied(batch: JournalBatch, result: BatchResult, before: number): void;
}

/**
 * One stream of batches that all processes write, and each applies to tables of its own in the order of the stream. So all
 * decide alike who may run a task, and whoever wrote a batch learns from his own tables what became of it.
 */
export class Journal implements WritePort {
  readonly replica = new Replica();
  readonly #options: JournalOptions;
  readonly #writer = randomUUID();
  readonly #compactor: Compactor;
  readonly #proposals: Proposal[] = [];
  /** Batches that are in the journal, and not read back yet. */
  readonly #awaited = new Map<number, Proposal>();
  /** Numbers of batches whose callers were told that nobody knows whether they were written. */
  readonly #givenUp = new Set<number>();
  #count = 0;
  #sending = false;
  /** The last entry that was applied. */
  #position = { id: '0-0', serial: 0 };
  /** What is there is the snapshot alone. */
  #justLoaded = false;
  #standing: 'opening' | 'live' | 'away' = 'opening';
  #cause = new Error('it has not answered yet');
  /** Set once this process would not decide as the others do. */
  #outdated: Error | undefined;
  #closed = false;
  #keepAlive: NodeJS.Timeout | undefined;

  constructor(options: JournalOptions) {
    this.#options = options;
    this.#compactor = new Compactor(options);
    for (const redis of [options.redis, options.blocking])
      redis.on('close', () => {
        if (this.#standing === 'live') this.#lost(new Error('the connection was lost'));
      });
  }

  /** Reads the journal from now on. Waits for its end, but not for a Redis that is not there. */
  async open(): Promise<void> {
    await this.replica.load({ firstRev: 0 });
    await new Promise<void>((resolve) => void this.#follow(resolve));
  }

  /** Throws while what the tables say may not be the present. */
  check(): void {
    if (this.#standing !== 'live') throw unavailable(this.#cause);
  }

  /** Takes note that the Redis cannot be used: one line in the log, however many meet it. */
  #lost(thrown: unknown): void {
    if (this.#closed) return;
    this.#cause = plainError(thrown);
    if (this.#standing === 'away') return;
    this.#options.logger.error({ err: this.#cause }, 'the Redis of the tasks cannot be used');
    this.#standing = 'away';
    this.#options.news.changed();
  }

  #back(): void {
    if (this.#standing === 'live') return;
    if (this.#standing === 'away') this.#options.logger.info('the Redis of the tasks can be used again');
    this.#standing = 'live';
    this.#options.news.changed();
  }

  /** Reads entries as they come, for as long as it is open. `settled` is called once it is known whether the Redis is there. */
  async #follow(settled: () => void): Promise<void> {
    let known = false;
    while (!this.#closed) {
      try {
        await Promise.all([whenReady(this.#options.redis), whenReady(this.#options.blocking)]);
        if (!known) await this.#load();
        known = await this.#read();
      } catch (error) {
        this.#lost(error);
        await wait(pause);
      }
      if (this.#standing !== 'opening') settled();
    }
    settled();
  }

  /** Begins with the last snapshot. */
  async #load(): Promise<void> {
    const { redis, keys, logger } = this.#options;
    const state = await withinTime(readState(redis, keys));
    if (this.#standing === 'live') {
      logger.warn('the Redis of the tasks no longer has what was read from it, and is read anew');
      this.#cause = new Error('it is being read anew');
      this.#standing = 'opening';
    }
    const { snapshot } = state;
    await this.replica.load(snapshot ? { content: snapshotContent(redis, keys, snapshot.id) } : { firstRev: state.firstRev });
    this.#position = snapshot ? { id: snapshot.at, serial: snapshot.serial } : { id: '0-0', serial: 0 };
    this.#justLoaded = true;
  }

  /** Applies what is there, or comes while it waits. Answers `false` where the journal is another than the one that was read. */
  async #read(): Promise<boolean> {
    const { blocking, redis, keys, news } = this.#options;
    const live = this.#standing === 'live';
    const block = live ? reading.block : undefined;
    const entries = await withinTime(readEntries(blocking, keys, this.#position.id, { block, count: reading.entries }), reading.dead);
    if (entries.length === 0) {
      const state = await withinTime(readState(redis, keys));
      const { serial } = state;
      if (serial === this.#position.serial) {
        this.#back();
        if (live && !(await withinTime(isWhole(redis, keys, state)))) await this.#compactor.replaceBy(this.replica, this.#position);
      }
      // An end before what was read here is that of a Redis that has lost entries; one that cannot be read was cut off.
      else if (serial < this.#position.serial || (await this.#isCutOff())) return false;
      return true;
    }
    for (const entry of entries) {
      if (entry.serial !== this.#position.serial + 1) {
        if (this.#justLoaded) throw new Error('some of the journal was dropped or deleted, and no process has put a copy in its place yet');
        return false;
      }
      this.#justLoaded = false;
      this.#apply(entry);
    }
    if (live) news.changed();
    this.#compactor.consider();
    return true;
  }

  async #isCutOff(): Promise<boolean> {
    const { redis, keys } = this.#options;
    return (await withinTime(readEntries(redis, keys, this.#position.id, { block: undefined, count: 1 }))).length === 0;
  }

  #apply({ id, serial, by, n, text, layout }: JournalEntry): void {
    if (layout > layoutVersion) {
      this.#outdated = new Error('a newer version of koa-taskflow has taken over; this process can only be stopped');
      throw this.#outdated;
    }
    const own = by === this.#writer ? this.#takeOwn(n) : undefined;
    // Whatever else of this process is in the journal was dealt with when it was read first.
    const late = by === this.#writer && this.#givenUp.delete(n);
    const batch = JSON.parse(text) as JournalBatch;
    const before = own || late ? this.replica.rev : 0;
    const result = this.replica.apply(batch, own?.wanted ?? []);
    this.#position = { id, serial };
    if (own || late) this.#options.applied(batch, result, before);
    if (own) own.settle(result);
    else if (late) this.#options.news.late(result);
  }

  /** The batch of that number, if somebody still waits for it. It may be read back before its sending is answered. */
  #takeOwn(n: number): Proposal | undefined {
    const own = this.#awaited.get(n) ?? this.#proposals.find((each) => each.n === n);
    this.#awaited.delete(n);
    if (own) this.#drop(own);
    return own;
  }

  /** Answers whether it was still to be sent. */
  #drop(proposal: Proposal): boolean {
    const index = this.#proposals.indexOf(proposal);
    if (index >= 0) this.#proposals.splice(index, 1);
    return index >= 0;
  }

  apply({ writes, claim, at, wanted }: Parameters<WritePort['apply']>[0]): Promise<BatchResult> {
    if (this.#closed) return Promise.reject(new TaskflowError('ENGINE_UNAVAILABLE', 'the task manager has stopped'));
    if (this.#outdated) return Promise.reject(unavailable(this.#outdated, 'nothing was written'));
    this.#count += 1;
    const n = this.#count;
    return new Promise((resolve, reject) => {
      const proposal: Proposal = {
        ...{ n, text: JSON.stringify({ writes, claim, at } satisfies JournalBatch), wanted, sent: false },
        settle: (result) => {
          clearTimeout(timer);
          resolve(result);
        },
        fail: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      };
      const whenOver = (again: boolean): void => {
        // Where the Redis is there, it is this process that was busy, or has much to read.
        if (again && this.#standing === 'live') timer = setTimeout(whenOver, patience, false);
        else this.#giveUp(proposal);
      };
      let timer = setTimeout(whenOver, patience + proposal.text.length / sending.characters, true);
      this.#proposals.push(proposal);
      void this.#send();
    });
  }

  /** Its caller waits no longer. Whether it was written is not known where it was sent. */
  #giveUp(proposal: Proposal): void {
    const { n, sent } = proposal;
    this.#awaited.delete(n);
    this.#drop(proposal);
    if (sent) this.#givenUp.add(n);
    const cause = this.#standing === 'live' ? new Error('it does not answer') : this.#cause;
    proposal.fail(unavailable(cause, sent ? 'whether this was written is not known' : 'nothing was written'));
  }

  /** One after the other, so that a batch which has to be sent again is still in its place. */
  async #send(): Promise<void> {
    if (this.#sending) return;
    this.#sending = true;
    const { redis, keys } = this.#options;
    for (let proposal = this.#proposals[0]; proposal && !this.#closed; proposal = this.#proposals[0]) {
      try {
        await whenReady(redis);
        if (proposal !== this.#proposals[0]) continue;
        proposal.sent = true;
        const all = [keys.journal, keys.state, keys.writer + this.#writer];
        const { n, text } = proposal;
        const time = sending.answer + text.length / sending.characters;
        await withinTime(runScript(redis, append, all, [this.#writer, n, text, layoutVersion]), time);
        if (this.#drop(proposal)) this.#awaited.set(proposal.n, proposal);
      } catch (error) {
        if (!isRefusal(error)) await wait(pause / 4);
        else if (this.#drop(proposal)) {
          this.#lost(error);
          proposal.fail(unavailable(plainError(error), 'nothing was written'));
        }
      }
    }
    this.#sending = false;
  }

  hold(busy: boolean): void {
    clearInterval(this.#keepAlive);
    this.#keepAlive = busy ? setInterval(() => {}, 2 ** 30) : undefined;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.hold(false);
    await this.#compactor.close();
    this.replica.close();
  }
}

function unavailable(cause: Error, what?: string): TaskflowError {
  const rest = what === undefined ? '' : `; ${what}`;
  return new TaskflowError('ENGINE_UNAVAILABLE', `the Redis of the tasks cannot be used: ${cause.message}${rest}`, {
    cause,
    reported: true,
  });
}

/** The Redis has answered that it will not: its memory is full, it is a replica, it does not know who asks. */
function isRefusal(error: unknown): boolean {
  return error instanceof Error && /^(OOM|READONLY|NOAUTH|NOPERM|MISCONF|WRONGPASS)/.test(error.message);
}
