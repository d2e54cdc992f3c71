import type { Logger } from '../../../src/options.js';
import { Connection, type Got } from './connection.js';
import { type Begun, HostileRequests, marker } from './requests.js';
import { startTarget } from './target-app.js';

/*
 * Sends hostile requests to an app with a real provider, and reports what the app did. A test sends
 * some thousands of them, and bench/fuzz-callbacks.js a million.
 */

interface AttackOptions {
  seed: number;
  count: number;
  /** Called after every tenth of the requests with the number of those sent. */
  onProgress?(sent: number): void;
}

/** What the app did. */
interface AttackReport {
  /** The number of answers by the kind of the request and the status. */
  statuses: Record<string, number>;
  /** Requests with an answer that no attacker may get: an error of the server or a session. */
  faults: string[];
  /** Milliseconds of the slowest answer. */
  slowest: number;
  logLines: number;
  /** Characters of the longest log line. */
  longestLine: number;
  /** Log lines with a text of a code, a state or a token. */
  leaks: string[];
  /** MiB by which the heap has grown since the first tenth of the requests. */
  heapGrowth: number;
  /** What works afterwards: the statuses of a sign-in, of guarded pages, and of a logout. */
  afterwards: Record<string, number>;
}

/** Requests at the same time. */
const connections = 16;
/** Attempts that the sender remembers. */
const maxBegun = 48;

/** Sends hostile requests to an app. */
export async function attack({ seed, count, onProgress }: AttackOptions): Promise<AttackReport> {
  const log = countingLogger();
  const app = await startTarget(log.logger as unknown as Logger, { attempts: maxBegun, users: 12 });
  const { begun } = app.target;
  const requests = new HostileRequests(seed, app.target);
  const report = { statuses: {} as Record<string, number>, faults: [] as string[], slowest: 0 };
  let sent = 0;
  let heapBefore = 0;
  const send = async (): Promise<void> => {
    const connection = new Connection(app.port);
    while (sent < count) {
      const number = sent;
      sent += 1;
      if (number % Math.ceil(count / 10) === 0) {
        if (number > 0 && heapBefore === 0) heapBefore = heapUsed();
        onProgress?.(number);
      }
      const request = requests.next();
      const started = performance.now();
      const got = await connection.send(request.text);
      report.slowest = Math.max(report.slowest, performance.now() - started);
      const key = `${request.kind} ${got.status}`;
      report.statuses[key] = (report.statuses[key] ?? 0) + 1;
      const fault = faultOf(got, request.isOfProxy);
      if (fault !== undefined && report.faults.length < 10)
        report.faults.push(
          `${number} of seed ${seed}: ${fault} for ${request.text.slice(0, 1000)}`,
        );
      remember(got, begun, number);
    }
    connection.close();
  };
  try {
    await Promise.all(Array.from({ length: connections }, send));
    const heapGrowth = heapUsed() - heapBefore;
    const { logLines, longestLine, leaks } = log.report;
    return { ...report, logLines, longestLine, leaks, heapGrowth, afterwards: await app.use() };
  } finally {
    await app.close();
  }
}

/** Returns what is wrong with an answer. */
function faultOf({ status, head, body }: Got, isOfProxy: boolean): string | undefined {
  if (status === 0 || status >= 500) return `${status} ${body.slice(0, 200)}`;
  if (/^set-cookie: (__Host-)?taskflow_token(_\w{8})?=[^;]/im.test(head)) return 'a session';
  if (body.startsWith('inside') && !isOfProxy) return `a guarded page for ${body}`;
  if (/^location: (?!\/|http:\/\/127\.0\.0\.1:\d+\/auth\?)/im.test(head)) return head;
  return undefined;
}

/** Remembers the attempt that an answer began, instead of an older one. */
function remember({ status, head }: Got, begun: Begun[], number: number): void {
  if (status !== 302) return;
  const [, cookie] = /^set-cookie: (taskflow_token_attempt_\d=[^;]+)/im.exec(head) ?? [];
  const [, state] = /^location: .*[?&]state=([\w-]+)/im.exec(head) ?? [];
  if (cookie !== undefined && state !== undefined) begun[number % maxBegun] = { cookie, state };
}

function heapUsed(): number {
  if (!globalThis.gc) throw new Error('run this with --expose-gc');
  globalThis.gc();
  return process.memoryUsage().heapUsed / 2 ** 20;
}

/** A logger that counts its lines. */
function countingLogger() {
  const report = { logLines: 0, longestLine: 0, leaks: [] as string[] };
  const write = (fields: object, message = ''): void => {
    const line = JSON.stringify({ ...fields, message });
    report.logLines += 1;
    report.longestLine = Math.max(report.longestLine, line.length);
    if (line.includes(marker) && report.leaks.length < 10) report.leaks.push(line);
  };
  return { logger: { debug: write, info: write, warn: write, error: write }, report };
}
