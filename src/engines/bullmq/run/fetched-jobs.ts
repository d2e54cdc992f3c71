import { ownFieldPrefix } from '../task-job.js';

/** What a worker's queries for jobs found that BullMQ's parser drops, or that tells attempts of one job apart. */
export class FetchedJobs {
  /** Fields of this package of jobs that were fetched and not taken yet. */
  readonly #fields = new Map<string, Record<string, string>>();
  /** How often each job that runs here was started, which tells this attempt from others. */
  readonly #starts = new Map<string, string>();

  /** Keeps what an answer of Redis holds of a job, if it holds a job. Returns the answer. */
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

  /** How often a job that runs here had been started when it was fetched. */
  starts(jobId: string): string | undefined {
    return this.#starts.get(jobId);
  }

  /** Forgets a job whose attempt has ended, unless it was fetched again. */
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
