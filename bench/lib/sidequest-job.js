import { Job } from 'sidequest';

/** Does nothing. In a file of its own, since the process that runs it loads it from there. */
export class NoopJob extends Job {
  /** @override */
  async run() {
    return null;
  }
}
