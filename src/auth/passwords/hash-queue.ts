import { AsyncResource } from 'node:async_hooks';
import { availableParallelism } from 'node:os';
import type { AuthContext } from '../strategies/strategy.js';

/*
 * Every hash of the process runs through this queue, whichever login needs it. `queueHash` refuses
 * a login attempt if the queue of its priority is full; otherwise the job waits in that queue. Of
 * each network only one job waits there. Further jobs wait behind it and move up one by one, so
 * that one network cannot fill the queue. Each job that ends starts the next ones, as far as
 * processors and memory allow.
 */

/**
 * The bytes that all running hashes may use together. OWASP recommends tens of MiB per hash, so
 * their number must be limited.
 */
const memoryBudget = 128 * 1024 * 1024;

/**
 * The most hashes that run at once. Each uses a core and one of libuv's threads, which also serve
 * every file read and DNS lookup of the process: with all four in use, a file read took over a
 * second.
 */
const maxRunning = Math.max(
  1,
  Math.min(availableParallelism(), (Number(process.env.UV_THREADPOOL_SIZE) || 4) - 2),
);

/** The login attempt that a hash is computed for. */
export interface HashLimits {
  /**
   * Network that the attempt came from. Each network may have one hash waiting, and more behind it
   * for 5 seconds.
   */
  address: string;
  /** Hashes that may wait before further attempts are refused. */
  queue: number;
  /**
   * Whether the browser or network has logged in before: such attempts go first, so that a flood
   * delays only browsers that have not logged in before.
   */
  trusted: boolean;
  /**
   * Set with the first hash of the attempt. Its further hashes are not refused: an attempt that was
   * checked in part must be counted, and a refused attempt is not.
   */
  admitted?: boolean;
}

/**
 * No hash could start in time, because too many logins are under way. Says nothing about the
 * password.
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

/** A job whose network already has a job waiting. */
interface JobBehind {
  job: Job;
  queue: number;
  timer: NodeJS.Timeout;
}

/** Milliseconds that a job waits behind another job of its network. */
const timeoutBehind = 5000;
/**
 * The most jobs that wait behind others, of all networks. One network may have as many as the queue
 * is long.
 */
const maxBehind = 500;

const limitsOf = new WeakMap<AuthContext, HashLimits>();
/** Waiting jobs, by priority: `trusted` goes first. Work at start-up waits behind all logins. */
const queues = { trusted: [] as Job[], login: [] as Job[], background: [] as Job[] };
const waitingAddresses = new Set<string>();
const behind: JobBehind[] = [];
let running = 0;
let memoryInUse = 0;
/** Seconds that one hash takes: a moving average. */
let usualDuration = 0.25;

/**
 * Puts the hashes of one login attempt under its limits. They are found by the context that its
 * strategies get: before Node 24, an AsyncLocalStorage would slow every promise of the process.
 */
export function limitHashes(context: AuthContext, limits: HashLimits): void {
  limitsOf.set(context, limits);
}

/** A hash that waits or runs. */
export interface QueuedHash<T> {
  result: Promise<T>;
  /** Moves it before all other waiting hashes, because a login needs it now. */
  prioritize(): void;
}

/**
 * Runs one hash as soon as fewer than {@link maxRunning} run, and never on the event loop. Rejects
 * with {@link HashQueueFull}, without any work, if the login attempt of the given context may not
 * wait. No login waits for a hash in the `background` yet.
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
    // The end of another attempt may start this one, so this one keeps its own context.
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
 * Waits until the network has no other job waiting and the queue has room, for at most
 * `timeoutBehind`.
 */
function waitBehind(attempt: HashLimits, job: Job, refuse: (error: HashQueueFull) => void): void {
  const { queue } = attempt;
  const timer = setTimeout(() => {
    behind.splice(behind.indexOf(entry), 1);
    attempt.admitted = false;
    refuse(queueFull());
  }, timeoutBehind);
  const entry: JobBehind = { job, queue, timer };
  behind.push(entry);
}

/** Moves jobs that waited behind another of their network into the queue, the oldest first. */
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
