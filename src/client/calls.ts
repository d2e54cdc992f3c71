import type { ParamOf } from '../web/row.js';
import type { taskRows } from '../web/task-rows.js';
import type { Answer, Given } from './request-types.js';

/*
 * The types of the client's requests, from the rows of the server's routes. Only types: the client
 * loads nothing of the server.
 */

type Rows = (typeof taskRows)[number];
type Row<K> = Extract<Rows, { key: K }>;

/** Method and path of a route of the tasks. */
export type RouteKey = Rows['key'];

/** What a request of a route consists of: the parameter of its path, its query and its body. */
export type Call<K extends RouteKey> = { readonly [P in ParamOf<K>]: string } & {
  readonly query?: Given<Row<K>['query']> | undefined;
  readonly body?: Given<Row<K>['body']> | undefined;
  readonly signal?: AbortSignal | undefined;
};

/** The JSON that a route answers with. */
export type AnswerOf<K extends RouteKey> = Answer<Row<K>['answer']>;
