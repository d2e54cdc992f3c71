import { AsyncResource } from 'node:async_hooks';
import { availableParallelism } from 'node:os';
import type { AuthContext } from '../strategies/strategy.js';

/*
 * Every password hash of the process runs through this queue, whichever login needs it. A login
 * attempt is refused if the queue of its priority is full. Each network has at most one job in the
 * queue, so that one network cannot fill it. Its further jobs wait behind that job and move up one
 * by one. Jobs of familiar places have no such limit. When a job ends, the next jobs start, as far
 * as processors and memory allow.
 */

/**
 * Maximum number of bytes that all running hashes use together. OWASP recommends tens of MiB per
 * hash.
 */
const memoryBudget = 128 * 1024 * 1024;

/**
 * Maximum number of simultaneous hashes. Each uses a core and a thread of libuv. These threads also
 * serve every file read and DNS lookup of the process. With all four in use, a file read took over
 * a second.
 */
const maxRunning = Math.max(
  1,
  Math.min(availableParallelism(), (Number(process.env.UV_THREADPOOL_SIZE) || 4) - 2),
);

/** The limits of the login attempt that needs a hash. */
export interface HashLimits {
  /**
   * Network of the attempt. Each network may have one hash in the queue. Further hashes wait behind
   * it for up to 5 seconds. Trusted attempts have no such limit.
   */
  address: string;
  /** Maximum number of waiting hashes. If it is reached, further attempts are refused. */
  queue: number;
  /**
   * Whether the browser or network has logged in before. Such attempts go first, so that a flood
   * from unknown places does not delay them.
   */
  trusted: boolean;
  /**
   * Set when the first hash of the attempt is queued. Further hashes of the attempt are then not
   * refused, because an attempt that was partly checked must be counted.
   */
  admitted?: boolean;
}

/**
 * The error if a hash could not start in time, because too many logins are in progress. It says
 * nothing about the password.
 */
export class HashQueueFull extends Error {
  /** Seconds until the next attempt is likely to succeed. */
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

/** A job that waits behind another job of its network. */
interface JobBehind {
  job: Job;
  queue: number;
  timer: NodeJS.Timeout;
}

/** Milliseconds that a job waits behind another job of its network. */
const timeoutBehind = 5000;
/**
 * Maximum number of jobs that wait behind others, of all networks together. The limit per network
 * is the length of the queue.
 */
const maxBehind = 500;

const limitsOf = new WeakMap<AuthContext, HashLimits>();
/** Waiting jobs by priority. `trusted` goes first, and work at startup (`background`) goes last. */
const queues = { trusted: [] as Job[], login: [] as Job[], background: [] as Job[] };
const waitingAddresses = new Set<string>();
const behind: JobBehind[] = [];
let running = 0;
let memoryInUse = 0;
/** Seconds that a hash takes, as a moving average. */
let usualDuration = 0.25;

/**
 * Applies limits to the hashes of a login attempt. The context that strategies receive identifies
 * the attempt. Before Node 24, an AsyncLocalStorage would slow down every promise of the process.
 */
export function limitHashes(context: AuthContext, limits: HashLimits): void {
  limitsOf.set(context, limits);
}

/** A hash that waits or runs. */
export interface QueuedHash<T> {
  result: Promise<T>;
  /** Moves the job before other waiting jobs, because a login needs its result now. */
  prioritize(): void;
}

/**
 * Queues a hash. It starts when fewer than {@link maxRunning} hashes run and memory allows, and
 * never runs on the event loop. No login waits for `background` work yet.
 *
 * @throws HashQueueFull if the attempt of the context cannot wait. The result rejects with it if
 * the attempt waited too long behind another job of its network.
 */
export function queueHash<T>(
  memory: number,
  compute: () => Promise<T>,
  wanted: AuthContext | 'background' | undefined,
): QueuedHash<T> {
  const background = wanted === 'background';
  const attempt = background || wanted === undefined ? undefined : limitsOf.get(wanted);
  const isFirst = attempt !== undefined && !attempt.admitted && !isFree(memory);
  if (isFirst) refuseWhenFull(attempt);
  const waitsBehind = isFirst && !attempt.trusted && waitingAddresses.has(attempt.address);
  if (attempt) attempt.admitted = true;
  const jobs = background ? queues.background : attempt?.trusted ? queues.trusted : queues.login;
  let job: Job | undefined;
  const result = new Promise<T>((resolve, reject) => {
    // The end of another attempt may start this job, so the job keeps the context of its own
    // attempt.
    const start = AsyncResource.bind(() => void run(memory, compute).then(resolve, reject));
    job = { memory, address: attempt?.trusted ? undefined : attempt?.address, start };
    if (waitsBehind) waitBehind(attempt, job, reject);
    else enqueue(jobs, job);
  });
  startWaiting();
  return {
    result,
    prioritize() {
      const place = job ? queues.background.indexOf(job) : -1;
      if (place >= 0) queues.trusted.push(...queues.background.splice(place, 1));
    },
  };
}

function enqueue(jobs: Job[], job: Job): void {
  jobs.push(job);
  if (job.address !== undefined) waitingAddresses.add(job.address);
}

function refuseWhenFull({ address, queue, trusted }: HashLimits): void {
  const jobs = trusted ? queues.trusted : queues.login;
  if (jobs.length >= queue) throw queueFull();
  if (trusted || !waitingAddresses.has(address)) return;
  const ofAddress = behind.filter(({ job }) => job.address === address).length;
  if (ofAddress >= queue || behind.length >= maxBehind) throw queueFull();
}

function queueFull(): HashQueueFull {
  return new HashQueueFull(
    Math.max(
      1,
      Math.ceil(((queues.trusted.length + queues.login.length) * usualDuration) / maxRunning),
    ),
  );
}

/**
 * Lets a job wait until its network has no other job in the queue and the queue has room. Refuses
 * it after `timeoutBehind`.
 */
function waitBehind(attempt: HashLimits, job: Job, refuse: (error: HashQueueFull) => void): void {
  const { queue } = attempt;
  const timer = setTimeout(() => {
    behind.splice(behind.indexOf(entry), 1);
    attempt.admitted = false;
    refuse(queueFull());
  }, timeoutBehind).unref();
  const entry: JobBehind = { job, queue, timer };
  behind.push(entry);
}

/** Moves waiting jobs into the queue, the oldest first, if their network has no other job there. */
function moveUp(): void {
  for (const entry of [...behind]) {
    const { job, queue, timer } = entry;
    if (
      queues.login.length >= queue ||
      (job.address !== undefined && waitingAddresses.has(job.address))
    )
      continue;
    clearTimeout(timer);
    behind.splice(behind.indexOf(entry), 1);
    enqueue(queues.login, job);
  }
}

function isFree(memory: number): boolean {
  return running === 0 || (running < maxRunning && memoryInUse + memory <= memoryBudget);
}

function startWaiting(): void {
  for (;;) {
    if (behind.length > 0) moveUp();
    const jobs = [queues.trusted, queues.login, queues.background].find(({ length }) => length > 0);
    const job = jobs?.[0];
    if (!job || !isFree(job.memory)) return;
    jobs.shift();
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
