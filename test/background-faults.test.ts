import { afterAll, describe, expect, it } from '@jest/globals';
import { temporaryFolder } from './helpers/folder.js';
import { startScript } from './helpers/process.js';

interface Outcome {
  /** Uncaught exceptions and unhandled rejections. */
  escaped: readonly string[];
  lines: readonly (readonly [level: string, msg: string, error?: string])[];
}

/** Lets one kind of background work fail in a separate process. */
async function faultsOf(kind: string, ...args: string[]): Promise<Outcome> {
  const child = startScript('background-faults.js', kind, ...args);
  await child.ended;
  return JSON.parse(child.lines.at(-1) ?? 'null') as Outcome;
}

const errorsIn = ({ lines }: Outcome): string[] =>
  lines.filter(([level]) => level === 'error').map(([, msg]) => msg);

describe('an error of background work', () => {
  const folder = temporaryFolder();
  afterAll(() => folder.remove());

  // One error each from a listener that throws, one that rejects, an object and `onabort`.
  const four = (msg: string): string[] => [msg, msg, msg, msg];
  const ofTask = four('an abort listener of a task failed');
  it.each<[what: string, kind: string, logged: readonly string[]]>([
    [
      'abort listeners of an attempt that is late, cancelled or stopped',
      'abort',
      [...ofTask, ...ofTask, ...ofTask],
    ],
    ['listeners of transitions', 'listener', ['a listener failed', 'a listener failed']],
    ['an emitter whose off() throws', 'emitter', ['a stream failed', 'a stream failed']],
    [
      'a source of a stream that throws when its client leaves',
      'source',
      [...four('an abort listener of a stream failed'), 'a stream failed'],
    ],
    [
      'a strategy, and a store that throws',
      'login',
      ['login strategy failed', 'login strategy is down', 'an audit row could not be stored'],
    ],
    ['a logger', 'logger', []],
    ['a handler that logs after the test engine has stopped', 'testing', []],
  ])('of %s is logged and never reaches the process', async (_what, kind, logged) => {
    const outcome = await faultsOf(kind);
    expect(outcome.escaped).toEqual([]);
    expect([...errorsIn(outcome)].sort()).toEqual([...logged].sort());
    if (kind === 'login')
      expect(JSON.stringify(outcome.lines)).toContain('a listener of the signal failed: onabort');
  });

  it('of the database is logged once by each job, and once when the job works again', async () => {
    const outcome = await faultsOf('database', folder.file('tasks.db'));
    expect(outcome.escaped).toEqual([]);
    const jobs = errorsIn(outcome).map((msg) => msg.replace(/ failed$/, ''));
    // Several maintenance jobs log the same message.
    expect([...new Set(jobs)].sort()).toEqual([
      'looking for changes of the task database',
      'looking for dead processes',
      'looking for tasks to run',
      'recording the ends of tasks',
      'storing a scheduled task',
      'the maintenance of the task database',
      'writing log lines of tasks',
      'writing the progress of tasks',
    ]);
    const again = outcome.lines.map(([, msg]) => msg).filter((msg) => msg.endsWith(' works again'));
    expect(again.sort()).toEqual(jobs.map((job) => `${job} works again`).sort());
  });
});
