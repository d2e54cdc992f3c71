/*
 * The methods of the client have types that are written for their readers. Each method takes the
 * parameters and members of the row of its route. This file does not compile if one is missing.
 */
import type {
  AuditQuery,
  BulkBody,
  BulkRetryBody,
  DetailQuery,
  FailuresQuery,
  FiguresQuery,
  ListQuery,
  LogsQuery,
  MetricsQuery,
  Reason,
  RerunBody,
  RetryFailedBody,
} from 'koa-taskflow/client';
import type { Call } from '../../src/client/calls.js';

type Keys<T> = keyof NonNullable<T>;
type Same<A, B> = [A, B] extends [B, A] ? true : never;
type Query<C extends { query?: unknown }, T> = Same<Keys<C['query']>, Keys<T>>;
type Body<C extends { body?: unknown }, T> = Same<Keys<C['body']>, Keys<T>>;

true satisfies Query<Call<'GET '>, ListQuery>;
true satisfies Query<Call<'GET /:id'>, DetailQuery>;
true satisfies Query<Call<'GET /:id/logs'>, LogsQuery>;
true satisfies Query<Call<'GET /metrics'>, MetricsQuery>;
true satisfies Query<Call<'GET /failures'>, FailuresQuery>;
true satisfies Query<Call<'GET /functions'>, FiguresQuery>;
true satisfies Query<Call<'GET /queues'>, FiguresQuery>;
true satisfies Query<Call<'GET /audit'>, AuditQuery>;
true satisfies Query<Call<'DELETE /history'>, { before: string; dryRun?: boolean }>;
true satisfies Body<Call<'POST /bulk'>, BulkBody>;
true satisfies Body<Call<'POST /bulk-retry'>, BulkRetryBody>;
true satisfies Body<Call<'POST /retry-failed'>, RetryFailedBody>;
true satisfies Body<Call<'POST /:id/rerun'>, RerunBody>;
true satisfies Body<Call<'POST /:id/retry'>, Reason>;
true satisfies Body<Call<'POST /queues/:name/pause'>, Reason>;
true satisfies Body<Call<'POST /schedules/:name/pause'>, Reason>;
// @ts-expect-error a parameter is missing
true satisfies Query<Call<'GET /metrics'>, FiguresQuery>;
// @ts-expect-error the route has no such parameter
true satisfies Query<Call<'GET /functions'>, MetricsQuery>;
