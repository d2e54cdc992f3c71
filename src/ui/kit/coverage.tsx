import { Time } from './time.js';

/** Shows since when counts include all tasks, if older tasks may be missing. */
export function Coverage({ since }: { since: string | undefined }) {
  if (since === undefined) return null;
  return (
    <p class="coverage">
      Complete since <Time at={since} />. Of the tasks that ended before, only some are included.
    </p>
  );
}
