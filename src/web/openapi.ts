import { z } from 'zod';
import { version } from '../package-files.js';
import * as answers from './answers.js';
import * as schemas from './schemas.js';

/** What the routes are grouped by. */
const tags = {
  tasks: 'Single tasks, and lists of them',
  many: 'One thing to many tasks',
  figures: 'What is summed up over tasks',
  control: 'Queues and schedules',
  service: 'The service itself',
  login: 'Signing in and out',
};

/** One route, as the document tells of it. */
interface Operation {
  /** `operationId`. */
  id: string;
  summary: string;
  tag: keyof typeof tags;
  query?: z.ZodObject;
  body?: z.ZodObject;
  /** Whether the body must be there. */
  bodyRequired?: true;
  status?: 200 | 201 | 202;
  /** A schema of JSON, or another media type. */
  answer: z.ZodType | { type: string; description: string };
  /** Statuses of errors beside those that every guarded route has. */
  errors?: readonly number[];
  public?: true;
}

const text = (type: string, description: string) => ({ type, description });

/** Every route of the tasks, by method and path below the mount. A test holds it against the routes that are really there. */
const operations: Readonly<Record<string, Operation>> = {
  'GET ': {
    id: 'listTasks',
    summary: 'Tasks by filter, sorted, page by page',
    tag: 'tasks',
    query: schemas.listQuery,
    answer: answers.taskList,
  },
  'GET /metrics': {
    id: 'getMetrics',
    summary: 'Counts, rates, durations and a series',
    tag: 'figures',
    query: schemas.metricsQuery,
    answer: answers.metrics,
  },
  'GET /metrics/prometheus': {
    id: 'getPrometheusMetrics',
    summary: 'The figures as Prometheus takes them',
    tag: 'figures',
    query: schemas.noQuery,
    answer: text('text/plain', 'Prometheus text format 0.0.4'),
  },
  'GET /failures': {
    id: 'listFailures',
    summary: 'Failures by kind, the last seen first',
    tag: 'figures',
    query: schemas.failureQuery,
    answer: answers.failureList,
  },
  'GET /workers': {
    id: 'listWorkers',
    summary:
      'Processes that have the tasks open, with the slots that handlers hold after their attempt was given up',
    tag: 'figures',
    query: schemas.noQuery,
    answer: answers.workerList,
  },
  'GET /functions': {
    id: 'listFunctions',
    summary: 'Functions, their settings and figures',
    tag: 'figures',
    query: schemas.figuresQuery,
    answer: answers.functionList,
  },
  'GET /queues': {
    id: 'listQueues',
    summary: 'Queues and their figures',
    tag: 'figures',
    query: schemas.figuresQuery,
    answer: answers.queueList,
  },
  'GET /schedules': {
    id: 'listSchedules',
    summary: 'Schedules and their next runs',
    tag: 'figures',
    query: schemas.noQuery,
    answer: answers.scheduleList,
  },
  'GET /audit': {
    id: 'listAudit',
    summary: 'Who did what when, newest first',
    tag: 'service',
    query: schemas.auditQuery,
    answer: answers.auditPage,
    errors: [501],
  },
  'GET /audit/export': {
    id: 'exportAudit',
    summary: 'The filtered audit as a file',
    tag: 'service',
    query: schemas.auditExportQuery,
    answer: text('application/x-ndjson', 'An event a line; or `text/csv` by `format`'),
    errors: [501],
  },
  'GET /export': {
    id: 'exportTasks',
    summary: 'The filtered list as a file',
    tag: 'tasks',
    query: schemas.exportQuery,
    answer: text('application/x-ndjson', 'A task a line; or `text/csv` by `format`'),
  },
  'GET /openapi.json': {
    id: 'getOpenApi',
    summary: 'This document',
    tag: 'service',
    query: schemas.noQuery,
    answer: z.looseObject({ openapi: z.string() }),
  },
  'GET /health': {
    id: 'getHealth',
    summary: 'Whether the tasks can be used',
    tag: 'service',
    answer: answers.health,
    public: true,
  },
  'GET /dashboard/stream': {
    id: 'streamEvents',
    summary: 'Changes as they happen: events hello, tasks, metrics, log, session',
    tag: 'tasks',
    query: schemas.streamQuery,
    answer: text('text/event-stream', 'Server-sent events'),
    errors: [503],
  },
  'POST /bulk': {
    id: 'bulk',
    summary: 'One thing to many tasks, by ids or filter',
    tag: 'many',
    body: schemas.bulkBody,
    bodyRequired: true,
    answer: answers.bulkAnswer,
    errors: [409, 413, 415, 501],
  },
  'POST /bulk-retry': {
    id: 'bulkRetry',
    summary: 'Retries tasks by their ids',
    tag: 'many',
    body: schemas.bulkRetryBody,
    bodyRequired: true,
    answer: answers.bulkAnswer,
    errors: [413, 415, 501],
  },
  'POST /retry-failed': {
    id: 'retryFailed',
    summary: 'Retries tasks that failed since a time',
    tag: 'many',
    body: schemas.retryFailedBody,
    bodyRequired: true,
    answer: answers.bulkAnswer,
    errors: [409, 413, 415, 501],
  },
  'DELETE /history': {
    id: 'deleteHistory',
    summary: 'Deletes tasks that ended before a time',
    tag: 'many',
    query: schemas.historyQuery,
    answer: answers.historyAnswer,
    errors: [501],
  },
  'POST /queues/:name/pause': control('pauseQueue', 'Pauses a queue', answers.queueAnswer),
  'POST /queues/:name/resume': control('resumeQueue', 'Resumes a queue', answers.queueAnswer),
  'POST /schedules/:name/pause': control(
    'pauseSchedule',
    'Pauses a schedule',
    answers.scheduleAnswer,
  ),
  'POST /schedules/:name/resume': control(
    'resumeSchedule',
    'Resumes a schedule',
    answers.scheduleAnswer,
  ),
  'POST /schedules/:name/remove': {
    ...control(
      'removeSchedule',
      'Removes a schedule that no running process defines',
      answers.scheduleRemoved,
    ),
    errors: [404, 409, 413, 415, 501],
  },
  'POST /schedules/:name/run': control('runSchedule', 'Runs a schedule now', answers.taskSummary),
  'GET /:id': {
    id: 'getTask',
    summary: 'A task with all that is known of it',
    tag: 'tasks',
    query: schemas.detailQuery,
    answer: answers.taskDetail,
    errors: [404],
  },
  'GET /:id/logs': {
    id: 'getLogs',
    summary: 'The log of a task',
    tag: 'tasks',
    query: schemas.logQuery,
    answer: answers.logPage,
    errors: [404],
  },
  'POST /:id/retry': onTask('retryTask', 'Runs the same task again', schemas.reasonBody, 202),
  'POST /:id/cancel': onTask('cancelTask', 'Cancels a task', schemas.reasonBody, 202),
  'POST /:id/run': onTask(
    'runTask',
    'Starts a task that waits for its time',
    schemas.reasonBody,
    202,
  ),
  'POST /:id/rerun': onTask(
    'rerunTask',
    'Makes a new task of one that has ended',
    schemas.rerunBody,
    201,
  ),
};

function control(id: string, summary: string, answer: z.ZodType): Operation {
  return {
    id,
    summary,
    tag: 'control',
    body: schemas.reasonBody,
    status: 202,
    answer,
    errors: [404, 413, 415, 501],
  };
}

function onTask(id: string, summary: string, body: z.ZodObject, status: 201 | 202): Operation {
  return {
    id,
    summary,
    tag: 'tasks',
    body,
    status,
    answer: answers.taskSummary,
    errors: [404, 409, 413, 415, 501],
  };
}

/** Schemas with a name of their own in the document. */
const components: Readonly<Record<string, z.ZodType>> = {
  TaskSummary: answers.taskSummary,
  TaskDetail: answers.taskDetail,
  TaskError: answers.taskError,
  FlowNode: answers.flowNode,
  TaskList: answers.taskList,
  LogLine: answers.logLine,
  LogPage: answers.logPage,
  Metrics: answers.metrics,
  FunctionList: answers.functionList,
  QueueList: answers.queueList,
  ScheduleList: answers.scheduleList,
  WorkerList: answers.workerList,
  FailureList: answers.failureList,
  AuditPage: answers.auditPage,
  BulkAnswer: answers.bulkAnswer,
  HistoryAnswer: answers.historyAnswer,
  QueueAnswer: answers.queueAnswer,
  ScheduleAnswer: answers.scheduleAnswer,
  ScheduleRemoved: answers.scheduleRemoved,
  Health: answers.health,
  Problem: answers.problem,
  BulkBody: schemas.bulkBody,
  BulkRetryBody: schemas.bulkRetryBody,
  RetryFailedBody: schemas.retryFailedBody,
  ReasonBody: schemas.reasonBody,
  RerunBody: schemas.rerunBody,
};

const errorTexts: Readonly<Record<number, string>> = {
  400: 'Something in the request is wrong; `detail` says what, and what is right',
  401: 'Nobody is signed in',
  403: 'The role is missing, or another site sent this',
  404: 'There is no such thing',
  406: 'It is not to be had in a form that `Accept` names',
  409: 'The state of the task, or the number of tasks, does not allow it',
  413: 'The body is too large',
  415: 'The body is not JSON',
  501: 'The engine cannot do that',
  503: 'The tasks cannot be used now',
};

interface DocumentParts {
  /** The path prefix as the client sees it. */
  mount: string;
  /** Such as `https://example.com`. */
  origin: string;
  /** Path items of the login's own routes. */
  login?: object | undefined;
  /** Name of the session's cookie; absent if the login is the app's own, or there is none. */
  cookie?: string | undefined;
}

/** The document. */
export function openApiDocument({ mount, origin, login, cookie }: DocumentParts): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const { method, path, described } of made.operations) {
    const full = mount + path || '/';
    paths[full] = { ...paths[full], [method]: described };
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'koa-taskflow',
      version,
      summary:
        'The background tasks of an app: what ran, what runs, what failed, and what is to be done about it.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: origin }],
    security: [{ bearer: [] }, ...(cookie === undefined ? [] : [{ cookie: [] }])],
    tags: Object.entries(tags).map(([name, description]) => ({ name, description })),
    paths: { ...paths, ...login },
    components: {
      schemas: made.schemas,
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'JWT',
          description: 'The token of a sign-in that sends JSON',
        },
        ...(cookie !== undefined && {
          cookie: {
            type: 'apiKey',
            in: 'cookie',
            name: cookie,
            description: 'The cookie of a sign-in in a browser',
          },
        }),
      },
    },
  };
}

function describe(
  {
    id,
    summary,
    tag,
    query,
    body,
    bodyRequired,
    status = 200,
    answer,
    errors = [],
    public: isPublic,
  }: Operation,
  path: string,
): object {
  const inPath = [...path.matchAll(/:(\w+)/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
  const parameters = [...inPath, ...(query ? parametersOf(query) : [])];
  const all = isPublic ? [406, 503] : [400, 401, 403, 406, 503, ...errors];
  return {
    operationId: id,
    summary,
    tags: [tag],
    ...(isPublic && { security: [] }),
    ...(parameters.length > 0 && { parameters }),
    ...(body && {
      requestBody: {
        required: bodyRequired ?? false,
        content: { 'application/json': { schema: schemaOf(body, 'input') } },
      },
    }),
    responses: {
      [status]: successOf(answer, status),
      ...Object.fromEntries(
        [...new Set(all)].sort().map((each) => [each, problemOf(each, isPublic)]),
      ),
    },
  };
}

function parametersOf(query: z.ZodObject): object[] {
  return Object.entries(query.shape).map(([name, field]) => {
    const schema = field as z.ZodType;
    return {
      name,
      in: 'query',
      required: !schema.safeParse(undefined).success,
      schema: schemaOf(schema, 'input'),
    };
  });
}

function successOf(answer: Operation['answer'], status: number): object {
  if (!(answer instanceof z.ZodType))
    return {
      description: answer.description,
      content: { [answer.type]: { schema: { type: 'string' } } },
    };
  const headers =
    status === 201
      ? { headers: { Location: { description: 'Of the new task', schema: { type: 'string' } } } }
      : {};
  return {
    description: 'Done',
    ...headers,
    content: { 'application/json': { schema: schemaOf(answer, 'output') } },
  };
}

function problemOf(status: number, isHealth: boolean | undefined): object {
  if (isHealth && status === 503)
    return {
      description: 'They cannot',
      content: { 'application/json': { schema: schemaOf(answers.health, 'output') } },
    };
  return {
    description: errorTexts[status],
    content: { 'application/problem+json': { schema: schemaOf(answers.problem, 'output') } },
  };
}

/** A reference where the schema has a name. */
function schemaOf(schema: z.ZodType, io: 'input' | 'output'): object {
  const [name] = Object.entries(components).find(([, each]) => each === schema) ?? [];
  return name === undefined
    ? plain(z.toJSONSchema(schema, { io, unrepresentable: 'any' }))
    : { $ref: `#/components/schemas/${name}` };
}

function componentSchemas(): Record<string, object> {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(components)) registry.add(schema, { id });
  const made = z.toJSONSchema(registry, {
    uri: (id) => `#/components/schemas/${id}`,
    io: 'output',
    unrepresentable: 'any',
  });
  return Object.fromEntries(
    Object.entries(made.schemas).map(([name, schema]) => [name, plain(schema)]),
  );
}

/** Without what says where a schema is, which the document says. */
function plain({
  $schema: _schema,
  $id: _id,
  ...schema
}: {
  $schema?: unknown;
  $id?: unknown;
}): object {
  return schema;
}

/** What is the same in every document, made once. */
const made = {
  operations: Object.entries(operations).map(([key, operation]) => {
    const [method = '', path = ''] = key.split(' ');
    return {
      method: method.toLowerCase(),
      path: path.replace(/:(\w+)/g, '{$1}'),
      described: describe(operation, path),
    };
  }),
  schemas: componentSchemas(),
};
