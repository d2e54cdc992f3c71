import { AsyncResource } from 'node:async_hooks';
import { availableParallelism } from 'node:os';
import type { AuthContext } from '../strategies/strategy.js';

/** Bytes that hashes under way may take together: OWASP asks for tens of MiB each, and a flood must not add them up. */
const memoryBudget = 128 * 1024 * 1024;

/**
 * Hashes at once. Each takes a core and one of libuv's threads, which serve every file read and DNS look-up of the process
 * as well: with all four taken a file read was seen to wait for over a second.
 */
const slots = Math.max(1, Math.min(availableParallelism(), (Number(process.env.UV_THREADPOOL_SIZE) || 4) - 2));

/** The login attempt that a hash is computed for. */
export interface HashLimits {
  /** Network that the attempt came from: each may have one hash waiting, and more behind it for 5 seconds. */
  address: string;
  /** Hashes that may wait before further attempts are refused. */
  queue: number;
  /** Whether the browser or network has logged in before: such attempts go first, so that a flood delays only strangers. */
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

/** A job whose network has one waiting already. */
interface JobBehind {
  job: Job;
  queue: number;
  timer: NodeJS.Timeout;
}

/** Milliseconds that a job waits behind another one of its network. */
const patience = 5000;
/** Jobs behind others, of all networks. One network may have as many as the queue is long. */
const maxBehind = 500;

const limitsOf = new WeakMap<AuthContext, HashLimits>();
/** Waiting jobs; an earlier lane goes first. Work at start-up waits behind the people. */
const lanes = { trusted: [] as Job[], login: [] as Job[], background: [] as Job[] };
const waitingAddresses = new Set<string>();
const behind: JobBehind[] = [];
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
  const isFirst = attempt !== undefined && !attempt.admitted && !isFree(memory);
  if (isFirst) refuseWhenFull(attempt);
  const waitsBehind = isFirst && !attempt.trusted && waitingAddresses.has(attempt.address);
  if (attempt) attempt.admitted = true;
  const lane = background ? lanes.background : attempt?.trusted ? lanes.trusted : lanes.login;
  let job: Job | undefined;
  const result = new Promise<T>((resolve, reject) => {
    // The end of another attempt may start this one, so this one keeps its own context.
    const start = AsyncResource.bind(() => void run(memory, compute).then(resolve, reject));
    job = { memory, address: attempt?.trusted ? undefined : attempt?.address, start };
    if (waitsBehind) waitBehind(attempt, job, reject);
    else enqueue(lane, job);
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

function enqueue(lane: Job[], job: Job): void {
  lane.push(job);
  if (job.address !== undefined) waitingAddresses.add(job.address);
}

function refuseWhenFull({ address, queue, trusted }: HashLimits): void {
  const lane = trusted ? lanes.trusted : lanes.login;
  if (lane.length >= queue) throw queueFull();
  if (trusted || !waitingAddresses.has(address)) return;
  const ofAddress = behind.filter(({ job }) => job.address === address).length;
  if (ofAddress >= queue || behind.length >= maxBehind) throw queueFull();
}

function queueFull(): HashQueueFull {
  return new HashQueueFull(Math.max(1, Math.ceil(((lanes.trusted.length + lanes.login.length) * usualDuration) / slots)));
}

/** Waits until the network has no other job waiting and the queue has room; not longer than `patience`, and without any work. */
function waitBehind(attempt: HashLimits, job: Job, refuse: (error: HashQueueFull) => void): void {
  const { queue } = attempt;
  const timer = setTimeout(() => {
    behind.splice(behind.indexOf(entry), 1);
    attempt.admitted = false;
    refuse(queueFull());
  }, patience);
  const entry: JobBehind = { job, queue, timer };
  behind.push(entry);
}

/** Moves jobs that waited behind another of their network into the queue, the oldest first. */
function moveUp(): void {
  for (const entry of [...behind]) {
    const { job, queue, timer } = entry;
    if (lanes.login.length >= queue || (job.address !== undefined && waitingAddresses.has(job.address))) continue;
    clearTimeout(timer);
    behind.splice(behind.indexOf(entry), 1);
    enqueue(lanes.login, job);
  }
}

function isFree(memory: number): boolean {
  return running === 0 || (running < slots && memoryInUse + memory <= memoryBudget);
}

function startWaiting(): void {
  for (;;) {
    if (behind.length > 0) moveUp();
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
