import { signal } from '@preact/signals';
import {
  type BulkAnswer,
  type CommandFilter,
  canCancel,
  canRetry,
  ProblemError,
  type TaskSummary,
} from '../../../client/client.js';
import { confirmed } from '../../kit/dialog.js';
import { duration, plural, whole } from '../../kit/formats.js';
import { notify, showError } from '../../kit/notices.js';
import type { Filter } from '../../state/address.js';
import { client, may } from '../../state/bootstrap.js';
import { linkToPage } from '../../state/view.js';
import { takeBack } from './actions.js';
import { clearSelection } from './selection.js';

/** Maximum number of tasks that one request can name. */
const maxIds = 1000;

/** The actions on several tasks, and their words in the interface. */
const verbs = {
  retry: {
    verb: 'Retry',
    past: 'retried',
    done: 'queued',
    consequence: 'They return to their queues and keep their history.',
  },
  cancel: {
    verb: 'Cancel',
    past: 'cancelled',
    done: 'cancelled or asked to stop',
    consequence: 'Pending tasks will not run. Running tasks are asked to stop.',
  },
  delete: {
    verb: 'Delete',
    past: 'deleted',
    done: 'deleted',
    consequence: 'They are removed from the history. This cannot be undone.',
  },
} as const;

export type ManyAction = keyof typeof verbs;

/** The label "Cancel" would be ambiguous next to the button "Cancel 5 tasks". */
const keepTasks = { keep: 'Keep tasks' };

/**
 * Whether a task can be deleted. If the engine cannot cancel tasks, pending tasks can be deleted.
 */
const canDelete = (status: TaskSummary['status']): boolean =>
  !canCancel(status) || (status === 'pending' && !may('cancel'));

/** Retries, cancels or deletes the selected tasks. */
export async function actOnSelected(
  action: ManyAction,
  tasks: readonly TaskSummary[],
): Promise<void> {
  const able = tasks.filter(({ status }) =>
    action === 'retry'
      ? canRetry(status)
      : action === 'cancel'
        ? canCancel(status)
        : canDelete(status),
  );
  const ids = able.map(({ id }) => id);
  const { verb, consequence } = verbs[action];
  const rest = tasks.length - able.length;
  if (ids.length === 0)
    return notify(`No selected task can be ${verbs[action].past} in its present state.`);
  const run = async (reason: string | undefined): Promise<void> => {
    report(action, await client.bulk({ action, ids, reason }), {});
    clearSelection();
  };
  const interrupted = able.filter(({ status }) => status === 'interrupted').length;
  if (ids.length === 1 && action === 'retry' && interrupted === 0)
    return run(undefined).catch(showError);
  await confirmed({
    title: `${verb} ${plural(ids.length, 'task')}?`,
    body: () => (
      <>
        <p>{consequence}</p>
        {rest > 0 && (
          <p>
            {whole(rest)} of the selected tasks stay unchanged, because their state does not allow
            it.
          </p>
        )}
        {action === 'retry' && interrupted > 0 && (
          <p>
            {whole(interrupted)} stopped halfway. They may already have done part of their work.
          </p>
        )}
      </>
    ),
    button: () => `${verb} ${plural(ids.length, 'task')}`,
    ...(action === 'cancel' && keepTasks),
    danger: action !== 'retry',
    asksReason: true,
    act: run,
  });
}

/**
 * Returns the filter of the page for a command. Without a filter, the command needs an explicit
 * `all`.
 */
function commandFilter(filter: Partial<Filter>): CommandFilter {
  const given = Object.entries(filter).filter(
    ([, value]) => value !== undefined && value.length > 0,
  );
  return given.length === 0 ? 'all' : (Object.fromEntries(given) as CommandFilter);
}

/** Choices of seconds over which a retry of many tasks is spread. */
const spreads = [0, 60, 600, 3600];
/** The minimum number of tasks for which the dialog offers to spread them over time. */
const worthSpreading = 1000;

/**
 * Changes all tasks that match a filter. Counts them first, and asks the user again if the number
 * has changed.
 */
export async function actOnFilter(
  action: ManyAction,
  shown: Partial<Filter>,
  what: string,
): Promise<void> {
  const { verb, consequence } = verbs[action];
  const filter = commandFilter(shown);
  const counted = signal<BulkAnswer | undefined>(undefined);
  const spread = signal(0);
  const count = async (): Promise<BulkAnswer> => {
    counted.value = await client.bulk({ action, filter, dryRun: true });
    return counted.value;
  };
  try {
    const { count: found, scope } = await count();
    if (found === 0)
      return notify(
        `There is no task to ${action} among ` +
          `${what}.${scope ? ' Only the newest tasks were searched.' : ''}`,
      );
  } catch (error) {
    return showError(error);
  }
  const number = (): string => numberOf(counted.value);
  await confirmed({
    title: `${verb} ${number()}?`,
    body: () => (
      <>
        <p>
          {verb} <strong>{number()}</strong> of {what}? {consequence}
        </p>
        <NewestOnly counted={counted.value} />
      </>
    ),
    fields: () =>
      action === 'retry' && (counted.value?.count ?? 0) >= worthSpreading ? (
        <label class="field">
          Spread over
          <select
            value={spread.value}
            onChange={(event) => (spread.value = Number(event.currentTarget.value))}
          >
            {spreads.map((seconds) => (
              <option key={seconds} value={seconds}>
                {seconds === 0 ? 'no time: all at once' : duration(seconds)}
              </option>
            ))}
          </select>
        </label>
      ) : null,
    button: () => `${verb} ${number()}`,
    ...(action === 'cancel' && keepTasks),
    danger: action !== 'retry',
    asksReason: true,
    async act(reason, progress) {
      const sum: Pick<BulkAnswer, 'dispatched' | 'skipped'> & { results: BulkAnswer['results'] } = {
        dispatched: 0,
        skipped: 0,
        results: [],
      };
      let expected = counted.peek()?.count ?? 0;
      const first = expected;
      for (;;) {
        const answer = await bulkExpecting(
          {
            action,
            filter,
            expect: expected,
            reason,
            ...(spread.peek() > 0 && { spread: spread.peek() }),
          },
          count,
        );
        sum.dispatched += answer.dispatched;
        sum.skipped += answer.skipped;
        sum.results.push(...answer.results);
        const all = Math.max(first, sum.dispatched);
        progress.value = `${whole(sum.dispatched)} of ${whole(all)} done…`;
        if (answer.remaining <= 0 || answer.dispatched === 0) break;
        // Changed tasks no longer match the filter, so the remaining tasks are counted again.
        expected = (await count()).count;
        if (expected === 0) break;
      }
      report(action, sum, shown);
      clearSelection();
    },
  });
}

/**
 * Returns the number of tasks that the command changes. It does not include tasks that the engine
 * did not search, which stay unchanged.
 */
function numberOf(counted: BulkAnswer | undefined): string {
  const { count = 0, countRelation, scope } = counted ?? {};
  const isMore = countRelation === 'gte' && scope === undefined;
  return `${isMore ? 'more than ' : ''}${plural(count, 'task')}`;
}

/** Explains in a confirmation that a command changes only tasks among the newest ones. */
export function NewestOnly({ counted }: { counted: BulkAnswer | undefined }) {
  if (counted?.scope === undefined) return null;
  return (
    <p class="coverage">
      Only the newest tasks were searched. Older tasks that match stay as they are.
    </p>
  );
}

/**
 * Sends one request. If the number of tasks is no longer the confirmed one, counts the tasks again
 * and throws an error that asks the user to confirm.
 */
async function bulkExpecting(
  body: Parameters<typeof client.bulk>[0],
  count: () => Promise<BulkAnswer>,
): Promise<BulkAnswer> {
  try {
    return await client.bulk(body);
  } catch (error) {
    if (!(error instanceof ProblemError) || error.code !== 'COUNT_CHANGED') throw error;
    const now = await count();
    throw countChanged(numberOf(now), error);
  }
}

/** Returns the error that asks the user to confirm the present number of tasks. */
export function countChanged(number: string, cause: unknown): Error {
  return new Error(
    `Nothing was done, because the number changed: there are ${number} now. Continue with these?`,
    { cause },
  );
}

/** Shows how many tasks were changed, and why some were skipped. */
function report(
  action: ManyAction,
  { dispatched, skipped, results }: Pick<BulkAnswer, 'dispatched' | 'skipped' | 'results'>,
  filter: Partial<Filter>,
): void {
  const { done } = verbs[action];
  const reasons = new Map<string, number>();
  for (const result of results)
    if (!result.ok) reasons.set(result.detail, (reasons.get(result.detail) ?? 0) + 1);
  const why = [...reasons].map(([detail, n]) => `${whole(n)}: ${detail}`).join(' ');
  const ids = results.flatMap(({ id, ok }) => (ok ? [id] : []));
  const reverse = action === 'retry' ? 'cancel' : 'retry';
  const { name, queue, tag = [], fingerprint, schedule, q, from, to } = filter;
  const rest = { name, queue, tag, fingerprint, schedule, q, from, to };
  const isFiltered = Object.values(rest).some((value) => value !== undefined && value.length > 0);
  notify(
    `${whole(dispatched)} ${done}${skipped > 0 ? `, ${whole(skipped)} skipped (${why})` : ''}.`,
    {
      ...(action !== 'delete' &&
        may(reverse) &&
        ids.length > 0 &&
        ids.length <= maxIds && { undo: () => takeBack(reverse, ids) }),
      ...(action !== 'delete' &&
        isFiltered && {
          link: { text: 'Show them', href: linkToPage({ view: 'tasks', ...rest }) },
        }),
    },
  );
}
