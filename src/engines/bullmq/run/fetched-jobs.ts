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
    this.#fields.set(jobId, ownFields(hash as string[]));
    this.#starts.set(jobId, fieldOf(hash as string[], 'ats'));
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

/** The fields of this package in the hash of a job. BullMQ reads the others. */
function ownFields(hash: readonly string[]): Record<string, string> {
  const fields: Record<string, string> = {};
  for (let n = 0; n + 1 < hash.length; n += 2) {
    const name = hash[n] ?? '';
    if (name.startsWith(ownFieldPrefix)) fields[name] = hash[n + 1] ?? '';
  }
  return fields;
}

/** The value of a field in the hash of a job; empty if it has none. */
function fieldOf(hash: readonly string[], field: string): string {
  for (let n = 0; n + 1 < hash.length; n += 2) if (hash[n] === field) return hash[n + 1] ?? '';
  return '';
}
