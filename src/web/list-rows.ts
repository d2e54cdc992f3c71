import { runInEmptyContext } from '../empty-context.js';
import { TaskflowError } from '../errors.js';
import { toTaskflowError } from '../http/problem.js';
import { readRangeQuery } from '../tasks/read-queries.js';
import { listFunctions, listQueues, listSchedules, readMetrics } from './overview.js';
import { prometheusText, prometheusType } from './prometheus.js';
import { externalRow, readRow } from './row.js';

const viewer = { requiredRole: 'viewer' } as const;
const figures = { ...viewer, tag: 'figures' } as const;

/** The routes that list tasks and show statistics over them. */
export const listRows = [
  readRow('GET ', {
    ...viewer,
    id: 'listTasks',
    summary: 'Tasks by filter, sorted, page by page',
    tag: 'tasks',
    query: 'listQuery',
    answer: 'taskList',
    handler: ({ tasks, query }) => tasks.find(query),
  }),
  readRow('GET /metrics', {
    ...figures,
    id: 'getMetrics',
    summary: 'Counts, rates, durations and a series',
    query: 'metricsQuery',
    answer: 'metrics',
    handler: async ({ tasks, query }) => {
      // The schema checks each member. The range as a whole is checked as for calls from code.
      await readRangeQuery(query, Date.now()).catch((cause: Error) => {
        throw new TaskflowError('INVALID_INPUT', `${cause.message}.`, { cause });
      });
      return readMetrics(tasks, query);
    },
  }),
  readRow('GET /metrics/prometheus', {
    ...figures,
    id: 'getPrometheusMetrics',
    summary: 'The statistics in the format of Prometheus',
    query: 'noQuery',
    answer: 'prometheusText',
    handler: async ({ ctx, tasks, access }) => {
      ctx.type = prometheusType;
      // The statistics of the tasks do not depend on the store of the login.
      const strategies = await access.health?.().catch(() => []);
      return prometheusText(tasks, strategies);
    },
  }),
  readRow('GET /failures', {
    ...figures,
    id: 'listFailures',
    summary: 'Failure groups, the most recent first',
    query: 'failureQuery',
    answer: 'failureList',
    handler: ({ tasks, query }) => tasks.aggregate('failures', query),
  }),
  readRow('GET /workers', {
    ...figures,
    id: 'listWorkers',
    summary: 'Processes that have the tasks open, with the slots of handlers that did not stop',
    query: 'noQuery',
    answer: 'workerList',
    handler: async ({ tasks }) => ({ items: await tasks.aggregate('workers') }),
  }),
  readRow('GET /functions', {
    ...figures,
    id: 'listFunctions',
    summary: 'Functions, their settings and statistics',
    query: 'figuresQuery',
    answer: 'functionList',
    handler: ({ tasks, query }) => listFunctions(tasks, query),
  }),
  readRow('GET /queues', {
    ...figures,
    id: 'listQueues',
    summary: 'Queues and their statistics',
    query: 'figuresQuery',
    answer: 'queueList',
    handler: ({ tasks, query }) => listQueues(tasks, query),
  }),
  readRow('GET /schedules', {
    ...figures,
    id: 'listSchedules',
    summary: 'Schedules and their next runs',
    query: 'noQuery',
    answer: 'scheduleList',
    handler: ({ tasks }) => listSchedules(tasks),
  }),
];

/** The routes about the service as a whole, and the stream. */
export const serviceRows = [
  readRow('GET /openapi.json', {
    ...viewer,
    id: 'getOpenApi',
    summary: 'This document',
    tag: 'service',
    query: 'noQuery',
    answer: 'openApi',
    handler: async ({ ctx, access, mount, rows }) => {
      // Loaded on demand, because it needs every schema and few requests ask for it.
      const { openApiDocument } = await runInEmptyContext(() => import('./openapi.js'));
      const prefix = mount.outside(ctx);
      return openApiDocument(rows, {
        mount: prefix,
        origin: `${ctx.protocol}://${ctx.host}`,
        login: access.describe?.(prefix),
        cookie: access.cookieName?.(ctx),
      });
    },
  }),
  readRow('GET /health', {
    id: 'getHealth',
    summary: 'Whether the tasks can be used',
    tag: 'service',
    requiredRole: 'public',
    answer: 'health',
    handler: async ({ ctx, tasks, access }) => {
      try {
        await Promise.all([tasks.describe(), access.usable?.()]);
        return { status: 'ok' };
      } catch (thrown) {
        const { code, detail } = toTaskflowError(thrown);
        ctx.status = 503;
        return { status: 'unavailable', code, detail };
      }
    },
  }),
  externalRow('GET /dashboard/stream', {
    ...viewer,
    id: 'streamEvents',
    summary: 'Changes as they happen: events hello, tasks, metrics, log, session',
    tag: 'tasks',
    query: 'streamQuery',
    answer: 'eventStream',
  }),
];
