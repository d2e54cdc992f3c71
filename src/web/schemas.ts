import { z } from 'zod';
import { isTaskId } from '../tasks/task-id.js';
import { logLevels, taskStatuses } from '../tasks/types.js';
import { readTime } from './time-text.js';

/**
 * What requests may say: the one source of what is checked and of the types. Whoever reads a query makes values of its text
 * first, by the kind of each field. Loaded with the first request that needs it, since zod takes longer to load than Koa.
 */

const whole = (min: number, max: number) => {
  const message = `must be a whole number from ${min} to ${max}`;
  return z.int({ error: message }).min(min, { error: message }).max(max, { error: message });
};
const words = (max: number) => {
  const message = `must have 1 to ${max} characters`;
  return z.string({ error: message }).min(1, { error: message }).max(max, { error: message });
};
const oneOf = <const T extends readonly [string, ...string[]]>(values: T) =>
  z.enum(values, { error: `must be one of ${values.join(', ')}` });

const aTime = 'must be a time such as 2026-11-03T14:00:00Z, or -6h, -7d relative to now';
const time = z
  .string({ error: aTime })
  .refine((text) => readTime(text, 0) !== undefined, { error: aTime })
  .meta({ examples: ['2026-11-03T14:00:00Z', '-6h'] });

const secondsOfSpread = 'must be a number of seconds from 0 to 86,400';

const sortKeys = ['createdAt', 'startedAt', 'endedAt', 'duration', 'name', 'status'] as const;
const sorts = [...sortKeys, ...sortKeys.map((key) => `-${key}` as const)] as const;

const cursor = z.string().max(2000, { error: 'is not one that a list gave' });

const filters = {
  status: z.array(oneOf(taskStatuses)).max(taskStatuses.length, { error: 'names a state twice' }).optional(),
  name: words(128).optional(),
  queue: words(128).optional(),
  tag: z
    .array(z.string().regex(/^[^:]{1,64}(:.{1,256})?$/su, { error: 'must be a key, or key:value, with a key of 1 to 64 characters' }))
    .max(10, { error: 'may be given ten times at most' })
    .optional(),
  fingerprint: z
    .string()
    .regex(/^[0-9a-f]{16}$/, { error: 'must be the 16 hexadecimal digits of a kind of failure' })
    .optional(),
  schedule: words(128).optional(),
  q: words(200).optional(),
  from: time.optional(),
  to: time.optional(),
};

/** `GET P`. */
export const listQuery = z.strictObject({
  ...filters,
  sort: oneOf(sorts as unknown as readonly [(typeof sorts)[number], ...(typeof sorts)[number][]]).optional(),
  limit: whole(1, 500).optional(),
  cursor: cursor.optional(),
});

/** `GET P/export`. */
export const exportQuery = z.strictObject({ format: oneOf(['csv', 'ndjson']), ...filters, sort: listQuery.shape.sort });

/** `GET P/metrics`. */
export const metricsQuery = z.strictObject({ from: time.optional(), to: time.optional(), step: whole(60, 31_536_000).optional() });

/** `GET P/:id/logs`. */
export const logQuery = z.strictObject({
  after: whole(0, 999_999_999).optional(),
  before: whole(1, 999_999_999).optional(),
  attempt: whole(1, 999_999_999).optional(),
  level: oneOf(logLevels).optional(),
  q: words(200).optional(),
  limit: whole(1, 1000).optional(),
});

/** `GET P/dashboard/stream`. */
export const streamQuery = z.strictObject({
  topics: z
    .string()
    .regex(/^(tasks|metrics)(,(tasks|metrics))*$/, { error: 'must be some of tasks, metrics, with commas between' })
    .optional(),
  task: z
    .array(z.string().max(400).refine(isTaskId, { error: 'must be the id of a task' }))
    .max(20, { error: 'may be given 20 times' })
    .optional(),
});

/** `GET P/audit`. */
export const auditQuery = z.strictObject({
  action: words(256).optional(),
  actor: words(256).optional(),
  outcome: oneOf(['done', 'refused', 'failed']).optional(),
  from: time.optional(),
  to: time.optional(),
  limit: whole(1, 500).optional(),
  cursor: cursor.optional(),
});

/** `GET P/audit/export`: the conditions of `GET P/audit`. */
export const auditExportQuery = auditQuery.omit({ limit: true, cursor: true }).extend({ format: oneOf(['csv', 'ndjson']) });

/** Body of `POST P/:id/retry` and of every other action that has none of its own. */
export const reasonBody = z.strictObject({
  reason: z
    .string({ error: 'must be a string of at most 500 characters' })
    .max(500, { error: 'must be a string of at most 500 characters' })
    .optional(),
});

/** `GET P/failures`. */
export const failureQuery = z.strictObject({
  name: words(128).optional(),
  from: time.optional(),
  limit: whole(1, 500).optional(),
  cursor: cursor.optional(),
});

/** `GET P/:id`. `logs`: how many of the last lines of its log come with it. */
export const detailQuery = z.strictObject({ logs: whole(0, 10_000).optional() });

/** `DELETE P/history`. With `dryRun=true` nothing is deleted, and `deleted` says how many would be. */
export const historyQuery = z.strictObject({ before: time, dryRun: oneOf(['true', 'false']).optional() });

/** `GET P/functions` and `GET P/queues`. */
export const figuresQuery = z.strictObject({ from: time.optional(), to: time.optional() });

/** What a request without parameters may have. */
export const noQuery = z.strictObject({});

const ids = z
  .array(z.string({ error: 'must be a list of the ids of tasks' }), { error: 'must be a list of the ids of tasks' })
  .min(1, { error: 'must have at least one id' })
  .max(1000, { error: 'may have 1,000 ids' });
const spread = z.number({ error: secondsOfSpread }).min(0, { error: secondsOfSpread }).max(86_400, { error: secondsOfSpread });
const dryRun = z.boolean({ error: 'must be true or false' });

/** Body of `POST P/bulk`. */
export const bulkBody = z.strictObject({
  action: oneOf(['retry', 'cancel', 'delete']),
  ids: ids.optional(),
  filter: z.strictObject(filters, { error: 'must be an object of filters as a list takes them' }).optional(),
  expect: whole(0, 1_000_000_000).optional(),
  dryRun: dryRun.optional(),
  spread: spread.optional(),
  ...reasonBody.shape,
});

/** Body of `POST P/bulk-retry`. */
export const bulkRetryBody = z.strictObject({ ids, spread: spread.optional(), dryRun: dryRun.optional(), ...reasonBody.shape });

/** Body of `POST P/retry-failed`. */
export const retryFailedBody = z.strictObject({
  since: time,
  name: words(128).optional(),
  spread: spread.optional(),
  expect: whole(0, 1_000_000_000).optional(),
  dryRun: dryRun.optional(),
  ...reasonBody.shape,
});

/** Body of `POST P/:id/rerun`. */
export const rerunBody = z.strictObject({
  args: z.array(z.unknown(), { error: 'must be the list of arguments' }).optional(),
  ...reasonBody.shape,
});
