import { TurnoverMap } from '../../turnover.js';
import { ownFieldPrefix } from '../jobs/task-job.js';

/**
 * Keeps parts of fetched jobs that BullMQ's parser drops: this package's fields, and the count of
 * starts.
 */
export class FetchedJobs {
  /** Fields of this package of jobs that were fetched and not taken yet. */
  readonly #fields = new TurnoverMap<string, Record<string, string>>();
  /**
   * How often each job that runs here has been started. This number identifies its present attempt.
   */
  readonly #starts = new TurnoverMap<string, string>();

  /** Keeps these parts of the job in an answer of Redis, if it has one. Returns the answer. */
  keep<T>(answer: T): T {
    if (!Array.isArray(answer)) return answer;
    const [hash, jobId] = answer as unknown[];
    if (!Array.isArray(hash) || typeof jobId !== 'string') return answer;
    const parts: readonly string[] = hash;
    const fields: Record<string, string> = {};
    let starts = '';
    for (let n = 0; n + 1 < parts.length; n += 2) {
      const [name = '', value = ''] = [parts[n], parts[n + 1]];
      if (name === 'ats') starts = value;
      else if (name.startsWith(ownFieldPrefix)) fields[name] = value;
    }
    this.#fields.set(jobId, fields);
    this.#starts.set(jobId, starts);
    return answer;
  }

  /** Returns the fields of this package of a job that was just fetched. */
  takeFields(jobId: string): Record<string, string> | undefined {
    const fields = this.#fields.get(jobId);
    this.#fields.delete(jobId);
    return fields;
  }

  /** Returns how often a job that runs here has been started. */
  starts(jobId: string): string | undefined {
    return this.#starts.get(jobId);
  }

  /** Forgets a job whose attempt has ended, unless it has been fetched again. */
  forget(jobId: string, starts: string | undefined): void {
    if (this.#starts.get(jobId) === starts) this.#starts.delete(jobId);
  }
}
