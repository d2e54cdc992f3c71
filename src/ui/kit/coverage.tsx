import { Time } from './time.js';

/** Says since when counts include all tasks, if they may lack older ones. */
export function Coverage({ since }: { since: string | undefined }) {
  if (since === undefined) return null;
  return (
    <p class="coverage">
      Complete since <Time at={since} />. Of the tasks that ended before, only some are included.
    </p>
  );
}
