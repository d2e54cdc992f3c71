import { beforeEach, describe, expect, it } from '@jest/globals';
import { createClient, type TaskClient } from '../../src/client/client.js';

const id = '01900000-0000-7000-8000-000000000000';
const huge = 'x'.repeat(1_000_000);
const invalid = expect.objectContaining({ code: 'INVALID_INPUT' });

/** Returns the error that a call throws or rejects with. */
async function thrownBy(call: () => unknown): Promise<unknown> {
  try {
    return (await call()) as unknown;
  } catch (error) {
    return error;
  }
}

describe('the client', () => {
  let requests: [method: string, url: string, body: unknown][];
  let client: TaskClient;

  beforeEach(() => {
    requests = [];
    const send = async (url: string | URL | Request, init?: RequestInit): Promise<Response> => {
      requests.push([
        init?.method ?? 'GET',
        String(url),
        init?.body ? (JSON.parse(String(init.body)) as unknown) : undefined,
      ]);
      return new Response('{"items":[],"nextCursor":null}', { status: 200 });
    };
    client = createClient('/tasks', { fetch: send as typeof fetch });
  });

  it.each<[string, () => unknown]>([
    ['no address', () => createClient(undefined as never)],
    ['an address that is an object', () => createClient(new URL('http://a.example') as never)],
    ['an address with a slash at the end', () => createClient('https://a.example/tasks/')],
    ['an address without a scheme', () => createClient('a.example/tasks')],
    ['a path outside a browser', () => createClient('/tasks')],
    ['options in place of the address', () => createClient({ token: 'x' } as never)],
    ['a token in place of the options', () => createClient('/tasks', 'x' as never)],
    ['null as options', () => createClient('/tasks', null as never)],
    ['an unknown option', () => createClient('/tasks', { tokn: 'x' } as never)],
    ['a token that is a number', () => createClient('/tasks', { token: 7 as never })],
    ['a fetch that is a string', () => createClient('/tasks', { fetch: 'x' as never })],
  ])('cannot be created with %s', async (_name, call) => {
    expect(await thrownBy(call)).toEqual(invalid);
  });

  const names: [string, unknown][] = [
    ['undefined', undefined],
    ['null', null],
    ['a number', 7],
    ['an empty string', ''],
    ['a dot', '.'],
    ['two dots', '..'],
    ['a list', [id]],
    ['an object', {}],
    ['a million characters', huge],
    ['half a surrogate pair', 'a\ud800'],
  ];
  const byName = ['get', 'logs', 'retry', 'cancel', 'run', 'rerun', 'endSession'] as const;
  const alsoByName = [
    'pauseQueue',
    'resumeQueue',
    'pauseSchedule',
    'resumeSchedule',
    'runSchedule',
  ] as const;

  it.each(
    [...byName, ...alsoByName].flatMap((method) =>
      names.map(([name, value]) => [method, name, value] as const),
    ),
  )('rejects %s() with %s, and sends nothing', async (method, _name, value) => {
    expect(await thrownBy(() => client[method](value as never))).toEqual(invalid);
    expect(requests).toEqual([]);
  });

  it.each<[string, (client: TaskClient) => unknown]>([
    ['ids that are undefined', (of) => of.bulk({ action: 'delete', ids: undefined as never })],
    [
      'a filter that is undefined beside ids',
      (of) => of.bulk({ action: 'delete', ids: [id], filter: undefined as never }),
    ],
    [
      'a condition that is undefined',
      (of) =>
        of.bulk({ action: 'delete', filter: { status: ['failed'], name: undefined as never } }),
    ],
    [
      'a dryRun that is undefined',
      (of) => of.bulk({ action: 'delete', filter: 'all', dryRun: undefined as never }),
    ],
    [
      'an expect that is undefined',
      (of) => of.bulk({ action: 'delete', filter: 'all', expect: undefined as never }),
    ],
    ['a bulk command without a body', (of) => of.bulk(undefined as never)],
    ['a bulk retry without a body', (of) => of.bulkRetry(undefined as never)],
    ['a retry of failures without a body', (of) => of.retryFailed(undefined as never)],
    ['a deletion without a time', (of) => of.deleteHistory(undefined as never)],
    ['a deletion before null', (of) => of.deleteHistory(null as never)],
    ['a deletion before a number', (of) => of.deleteHistory(7 as never)],
    ['a deletion before an invalid Date', (of) => of.deleteHistory(new Date('x'))],
    ['a query with an invalid Date', (of) => of.list({ from: new Date('x') })],
    ['a query in a Map', (of) => of.list(new Map([['name', 'x']]) as never)],
    ['an inherited query', (of) => of.list(Object.create({ name: 'x' }) as never)],
    [
      'a body that inherits its filter',
      (of) => of.bulk(Object.create({ action: 'delete', filter: 'all' }) as never),
    ],
    ['a query that is not awaited', (of) => of.list(Promise.resolve({}) as never)],
    ['a signal in place of the query', (of) => of.list(new AbortController().signal as never)],
    [
      'options in place of the signal',
      (of) => of.list({}, { signal: new AbortController().signal } as never),
    ],
    ['a reason in place of the body', (of) => of.retry(id, 'because' as never)],
    ['arguments in place of the body', (of) => of.rerun(id, ['x'] as never)],
    ['a topic that is not a list', (of) => of.changes({ topics: 'tasks' as never })],
    ['an id to follow that is not a list', (of) => of.changes({ follow: id as never })],
    ['a signal in place of the options', (of) => of.changes(new AbortController().signal as never)],
    ['a body that is a list', (of) => of.bulk([] as never)],
    ['a body that is null', (of) => of.bulkRetry(null as never)],
    [
      'a name that is undefined',
      (of) => of.retryFailed({ since: '-1h', name: undefined as never }),
    ],
    ['args that are undefined', (of) => of.rerun(id, { args: undefined as never })],
    ['a misspelt dryRun', (of) => of.deleteHistory('-1d', { dryrun: true } as never)],
    [
      'a dryRun of history that is undefined',
      (of) => of.deleteHistory('-1d', { dryRun: undefined as never }),
    ],
    ['options of history that are a boolean', (of) => of.deleteHistory('-1d', true as never)],
    ['sessions of a user that is undefined', (of) => of.endSessions({ username: undefined })],
    ['a session of a user that is undefined', (of) => of.endSession(id, { username: undefined })],
    ['a query that is a string', (of) => of.list('failed' as never)],
    ['a query that is null', (of) => of.list(null as never)],
    ['a misspelt topic', (of) => of.changes({ topic: ['tasks'] } as never)],
  ])('rejects %s, and sends nothing', async (_name, call) => {
    expect(await thrownBy(() => call(client))).toEqual(invalid);
    expect(requests).toEqual([]);
  });

  it('omits undefined members of a query, and sends Dates as ISO 8601', async () => {
    const from = new Date(0);
    await client.list({ name: undefined, status: ['failed'], from });
    await client.deleteHistory(from, { dryRun: true });
    await client.bulk({ action: 'retry', filter: { from }, dryRun: true, reason: undefined });
    expect(requests).toEqual([
      ['GET', '/tasks?status=failed&from=1970-01-01T00%3A00%3A00.000Z', undefined],
      ['DELETE', '/tasks/history?before=1970-01-01T00%3A00%3A00.000Z&dryRun=true', undefined],
      [
        'POST',
        '/tasks/bulk',
        { action: 'retry', filter: { from: from.toISOString() }, dryRun: true },
      ],
    ]);
  });
});
