import { z } from 'zod';
import {
  args,
  commandFilter,
  conditions,
  cursor,
  dryRun,
  expect,
  ids,
  listQuery,
  metricsQuery,
  name,
  oneOf,
  reason,
  spread,
  strict,
  taskId,
  time,
  whole,
  words,
} from '../tasks/query-schemas.js';

/**
 * The schemas of requests, from which their checks and types come. The name of a schema ends with
 * `Query` or `Body`, and the row of a route names it. `tasks/query-schemas.ts` has the schemas that
 * calls from code are also checked against. Loaded with the first request that needs it, because
 * zod takes longer to load than Koa.
 */

export {
  detailQuery,
  failureQuery,
  listQuery,
  logQuery,
  metricsQuery,
} from '../tasks/query-schemas.js';

const format = oneOf(['csv', 'ndjson']);

/** `GET P/export`. */
export const exportQuery = strict({
  format,
  ...conditions.shape,
  sort: listQuery.shape.sort,
});

/** `GET P/dashboard/stream`. */
export const streamQuery = strict({
  topics: z
    .string()
    .regex(
      /^(tasks|metrics)(,(tasks|metrics))*$/,
      'must be a comma-separated list of: tasks, metrics',
    ),
  task: z.array(taskId).max(20, 'may be given at most 20 times'),
}).partial();

/** `GET P/audit`. */
export const auditQuery = strict({
  action: words(256),
  actor: words(256),
  outcome: oneOf(['done', 'refused', 'failed']),
  from: time,
  to: time,
  limit: whole(1, 500),
  cursor,
}).partial();

/** `GET P/audit/export`: the conditions of `GET P/audit`. */
export const auditExportQuery = auditQuery.omit({ limit: true, cursor: true }).extend({ format });

/** Body of `POST P/:id/retry` and of every other command without a body of its own. */
export const reasonBody = strict({ reason: reason.optional() });

/** `DELETE P/history`. With `dryRun=true`, tasks are only counted. */
export const historyQuery = strict({ before: time, dryRun: oneOf(['true', 'false']).optional() });

/** `GET P/functions` and `GET P/queues`. */
export const figuresQuery = metricsQuery.omit({ step: true });

/** The query of a route without parameters. */
export const noQuery = strict({});

const requestIds = ids(1, 1000);

/** Body of `POST P/bulk`: exactly one of `ids` and `filter`. */
export const bulkBody = strict({
  action: oneOf(['retry', 'cancel', 'delete']),
  ids: requestIds.optional(),
  filter: commandFilter.optional(),
  expect: expect.optional(),
  dryRun: dryRun.optional(),
  spread: spread.optional(),
  ...reasonBody.shape,
});

/** Body of `POST P/bulk-retry`. */
export const bulkRetryBody = strict({
  ids: requestIds,
  spread: spread.optional(),
  dryRun: dryRun.optional(),
  ...reasonBody.shape,
});

/** Body of `POST P/retry-failed`. */
export const retryFailedBody = strict({
  since: time,
  name: name.optional(),
  spread: spread.optional(),
  expect: expect.optional(),
  dryRun: dryRun.optional(),
  ...reasonBody.shape,
});

/** Body of `POST P/:id/rerun`. */
export const rerunBody = strict({
  args: args.optional(),
  ...reasonBody.shape,
});
