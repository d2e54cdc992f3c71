import { AsyncResource } from 'node:async_hooks';
import { availableParallelism } from 'node:os';
import type { AuthContext } from '../strategy.js';

/** Bytes that hashes under way may take together: OWASP asks for tens of MiB each, and a flood must not add them up. */
const memoryBudget = 128 * 1024 * 1024;

/**
 * Hashes at once. Each takes a core and one of libuv's threads, which serve every file read and DNS look-up of the process
 * as well: with all four taken a file read was seen to wait for over a second.
 */
const slots = Math.max(1, Math.min(availableParallelism(), (Number(process.env.UV_THREADPOOL_SIZE) || 4) - 2));

/** The login attempt that a hash is computed for. */
export interface HashLimits {
  /** Address that the attempt came from: each may have one hash waiting. */
  address: string;
  /** Hashes that may wait before further attempts are refused. */
  queue: number;
  /** Whether the browser has logged in before: such attempts go first, so that a flood holds up strangers alone. */
  trusted: boolean;
  /**
   * Set with the first hash of the attempt. Whatever else it needs is not refused any more: a password that was checked in
   * part must be counted, and an attempt that is refused is not.
   */
  admitted?: boolean;
}

/** No slot came free in time: too many logins are under way. Says nothing about the password. */
export class HashQueueFull extends Error {
  /** Seconds until it is worth trying again. */
  readonly retryAfter: number;

  constructor(retryAfter: number) {
    super('too many passwords are being checked');
    this.name = 'HashQueueFull';
    this.retryAfter = retryAfter;
  }
}

interface Job {
  memory: number;
  address: string | undefined;
  start(): void;
}

const limitsOf = new WeakMap<AuthContext, HashLimits>();
/** Waiting jobs; an earlier lane goes first. Work at start-up waits behind the people. */
const lanes = { trusted: [] as Job[], login: [] as Job[], background: [] as Job[] };
const waitingAddresses = new Set<string>();
let running = 0;
let memoryInUse = 0;
/** Seconds that one hash takes, as the last ones did. */
let usualDuration = 0.25;

/**
 * Puts the hashes of one login attempt under its limits. They are known by the context that its strategies get; an
 * AsyncLocalStorage would slow every promise of the process on Node before 24, from the first login on.
 */
export function limitHashes(context: AuthContext, limits: HashLimits): void {
  limitsOf.set(context, limits);
}

/** A hash that waits or runs. */
export interface QueuedHash<T> {
  result: Promise<T>;
  /** Moves it before whatever else waits: somebody needs it now. */
  hurry(): void;
}

/**
 * Runs one hash as soon as a slot is free. Never on the event loop, and never more at once than {@link slots}. Rejects with
 * {@link HashQueueFull} without any work when the login attempt of the given context may not wait. In the `background` nobody waits for it yet.
 */
export function queueHash<T>(memory: number, compute: () => Promise<T>, wanted: AuthContext | 'background' | undefined): QueuedHash<T> {
  const background = wanted === 'background';
  const attempt = background || wanted === undefined ? undefined : limitsOf.get(wanted);
  if (attempt && !attempt.admitted && !isFree(memory)) refuseWhenFull(attempt);
  if (attempt) attempt.admitted = true;
  const lane = background ? lanes.background : attempt?.trusted ? lanes.trusted : lanes.login;
  let job: Job | undefined;
  const result = new Promise<T>((resolve, reject) => {
    // Another attempt may start it by ending, so it keeps the context of its own.
    const start = AsyncResource.bind(() => void run(memory, compute).then(resolve, reject));
    job = { memory, address: attempt?.trusted ? undefined : attempt?.address, start };
    lane.push(job);
    if (job.address !== undefined) waitingAddresses.add(job.address);
  });
  startWaiting();
  return {
    result,
    hurry() {
      const place = job ? lanes.background.indexOf(job) : -1;
      if (place >= 0) lanes.trusted.push(...lanes.background.splice(place, 1));
    },
  };
}

function refuseWhenFull({ address, queue, trusted }: HashLimits): void {
  const lane = trusted ? lanes.trusted : lanes.login;
  const waitsAlready = !trusted && waitingAddresses.has(address);
  if (lane.length < queue && !waitsAlready) return;
  throw new HashQueueFull(Math.max(1, Math.ceil(((lanes.trusted.length + lanes.login.length) * usualDuration) / slots)));
}

function isFree(memory: number): boolean {
  return running === 0 || (running < slots && memoryInUse + memory <= memoryBudget);
}

function startWaiting(): void {
  for (;;) {
    const lane = [lanes.trusted, lanes.login, lanes.background].find(({ length }) => length > 0);
    const job = lane?.[0];
    if (!job || !isFree(job.memory)) return;
    lane.shift();
    if (job.address !== undefined) waitingAddresses.delete(job.address);
    job.start();
  }
}

async function run<T>(memory: number, compute: () => Promise<T>): Promise<T> {
  running += 1;
  memoryInUse += memory;
  const started = performance.now();
  try {
    return await compute();
  } finally {
    running -= 1;
    memoryInUse -= memory;
    usualDuration += ((performance.now() - started) / 1000 - usualDuration) / 8;
    startWaiting();
  }
}
