import { z } from 'zod';
import { pathItems, pathParameters } from '../http/path-items.js';
import { version } from '../package-files.js';
import * as answers from './answers.js';
import { type AnswerName, addressOf, type BodyName, mediaOf, type Row, tags } from './row.js';
import * as schemas from './schemas.js';

/*
 * Generates the OpenAPI document from the rows of the routes and the schemas that they name. Each
 * schema of an answer and of a body is a component of the document, named as its export.
 */

interface DocumentContext {
  /** The path prefix as the client sees it. */
  mount: string;
  /** Such as `https://example.com`. */
  origin: string;
  /** Path items of the login's own routes. */
  login?: object | undefined;
  /** Name of the session cookie; absent if the app has its own login, or none. */
  cookie?: string | undefined;
}

/** Returns the document of a table of routes. */
export function openApiDocument(
  rows: readonly Row[],
  { mount, origin, login, cookie }: DocumentContext,
): object {
  const routes = rows.map((row) => {
    const address = addressOf(row.key);
    return { ...address, operation: operationOf(row, pathParameters(address.path)) };
  });
  return {
    openapi: '3.1.1',
    info: {
      title: 'koa-taskflow',
      version,
      summary:
        'The background tasks of an app: their history, state and failures, and commands for them.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: origin }],
    security: [{ bearer: [] }, ...(cookie === undefined ? [] : [{ cookie: [] }])],
    tags: Object.entries(tags).map(([name, description]) => ({ name, description })),
    paths: { ...pathItems(mount, routes), ...login },
    components: {
      schemas: componentSchemas,
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

/** The schemas of bodies, by name. */
const bodies = new Map<string, z.ZodObject>(
  Object.entries(schemas).filter(([name]) => name.endsWith('Body')),
);

function operationOf(row: Row, inPath: readonly object[]): object {
  const { id, summary, tag, requiredRole, query, body, answer, status = 200 } = row;
  const isPublic = requiredRole === 'public';
  const parameters = [...inPath, ...((query && inQuery[query]) ?? [])];
  const errors = errorsOf(row, inPath.length > 0);
  return {
    operationId: id,
    summary,
    tags: [tag],
    ...(isPublic && { security: [] }),
    ...(parameters.length > 0 && { parameters }),
    ...(body && {
      requestBody: {
        required: !bodies.get(body)?.safeParse({}).success,
        content: contentOf(body),
      },
    }),
    responses: {
      [status]: successOf(answer, status),
      ...Object.fromEntries(errors.map((each) => [each, problemOf(each, isPublic)])),
    },
  };
}

/** Returns the statuses of errors: those that follow from the columns, and those of the row. */
function errorsOf(
  { requiredRole, body, action, errors = [] }: Row,
  hasParameter: boolean,
): number[] {
  const all = [
    ...(requiredRole === 'public' ? [] : [400, 401, 403]),
    ...(hasParameter ? [404] : []),
    406,
    ...(body ? [413, 415] : []),
    ...(action === undefined ? [] : [501]),
    503,
    ...errors,
  ];
  return [...new Set(all)].sort();
}

/** The parameters of each query, by the name of its schema. Made once. */
const inQuery: Readonly<Record<string, readonly object[]>> = Object.fromEntries(
  Object.entries(schemas)
    .filter(([name]) => name.endsWith('Query'))
    .map(([name, { shape }]) => [name, Object.entries<z.ZodType>(shape).map(parameterOf)]),
);

function parameterOf([name, field]: [string, z.ZodType]): object {
  return {
    name,
    in: 'query',
    required: !field.safeParse(undefined).success,
    schema: plain(z.toJSONSchema(field, { io: 'input', unrepresentable: 'any' })),
  };
}

function successOf(answer: AnswerName, status: number): object {
  const file = mediaOf(answer);
  if (file) {
    const { type, description, schema = { type: 'string' } } = file;
    return { description, content: { [type]: { schema } } };
  }
  const location = { Location: { description: 'Of the new task', schema: { type: 'string' } } };
  return {
    description: 'Done',
    ...(status === 201 && { headers: location }),
    content: contentOf(answer),
  };
}

const errorTexts: Readonly<Record<number, string>> = {
  400: 'The request is not valid; `detail` says what is wrong and what is accepted',
  401: 'The request has no valid session',
  403: 'The role is missing, or another site sent the request',
  404: 'There is no such thing',
  406: 'No media type of the `Accept` header is available',
  409: 'The state of the task, or the number of tasks, does not allow it',
  413: 'The body is too large',
  415: 'The body is not JSON',
  501: 'The engine cannot do that',
  503: 'The tasks cannot be used now',
};

function problemOf(status: number, isHealth: boolean): object {
  if (isHealth && status === 503)
    return { description: 'They cannot', content: contentOf('health') };
  return {
    description: errorTexts[status],
    content: contentOf('problem', 'application/problem+json'),
  };
}

function contentOf(name: AnswerName | BodyName, type = 'application/json'): object {
  return { [type]: { schema: { $ref: `#/components/schemas/${componentName(name)}` } } };
}

function componentName(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}

/** The schemas that have a name in the document, made once. */
const componentSchemas = (() => {
  const registry = z.registry<{ id: string }>();
  for (const [name, schema] of [...Object.entries(answers), ...bodies])
    registry.add(schema, { id: componentName(name) });
  const made = z.toJSONSchema(registry, {
    uri: (id) => `#/components/schemas/${id}`,
    io: 'output',
    unrepresentable: 'any',
  });
  return Object.fromEntries(
    Object.entries(made.schemas).map(([name, schema]) => [name, plain(schema)]),
  );
})();

/** Removes the members that say where a schema is, which the document says. */
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
