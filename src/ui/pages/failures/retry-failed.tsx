import { signal } from '@preact/signals';
import { type BulkAnswer, ProblemError } from '../../../client/client.js';
import { serverNow } from '../../kit/clock.js';
import { confirmed } from '../../kit/dialog.js';
import { plural, whole } from '../../kit/formats.js';
import { notify, showError } from '../../kit/notices.js';
import { client } from '../../state/bootstrap.js';
import { linkToPage } from '../../state/view.js';
import { countChanged, NewestOnly } from '../task-list/bulk-actions.js';

/**
 * Retries tasks that failed in the last `seconds`, of one function or of all functions. Counts them
 * first.
 */
export async function retryFailedSince(
  seconds: number,
  words: string,
  name?: string,
): Promise<void> {
  const since = new Date(serverNow() - seconds * 1000).toISOString();
  const counted = signal<BulkAnswer | undefined>(undefined);
  const count = async (): Promise<void> => {
    counted.value = await client.retryFailed({
      since,
      dryRun: true,
      ...(name !== undefined && { name }),
    });
  };
  try {
    await count();
  } catch (error) {
    return showError(error);
  }
  const number = (): number => counted.value?.count ?? 0;
  const isWindow = counted.value?.scope !== undefined;
  if (number() === 0)
    return notify(
      `No task that failed ${words} is failed ` +
        `now.${isWindow ? ' Only the newest tasks were searched.' : ''}`,
    );
  await confirmed({
    title: `Retry ${plural(number(), 'task')}?`,
    body: () => (
      <>
        <p>
          Retry <strong>{plural(number(), 'failed task')}</strong>
          {name === undefined ? ' of all functions' : ` of ${name}`} that failed {words}? They join
          their queues again and keep their history.
        </p>
        <NewestOnly counted={counted.value} />
      </>
    ),
    button: () => `Retry ${plural(number(), 'task')}`,
    asksReason: true,
    async act(reason) {
      try {
        const { dispatched, skipped } = await client.retryFailed({
          since,
          expect: number(),
          reason,
          ...(name !== undefined && { name }),
        });
        notify(
          skipped > 0
            ? `${whole(dispatched)} queued, ${whole(skipped)} skipped: their state had changed.`
            : `${whole(dispatched)} queued.`,
          {
            link: { text: 'Show them', href: linkToPage({ view: 'tasks', name }) },
          },
        );
      } catch (error) {
        if (!(error instanceof ProblemError) || error.code !== 'COUNT_CHANGED') throw error;
        await count();
        throw countChanged(plural(number(), 'task'), error);
      }
    },
  });
}
