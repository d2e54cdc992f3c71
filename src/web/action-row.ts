import type { Context } from 'koa';
import { TaskflowError } from '../errors.js';
import type { Actor, AuditEvent } from '../http/access.js';
import { hasBody, readBody } from '../http/body.js';
import { toTaskflowError } from '../http/problem.js';
import { type Route, record } from '../http/routes.js';
import type { CommandBy, Outcome } from '../tasks/commands.js';
import { storableText } from '../tasks/describe-error.js';
import type { Command } from '../tasks/source.js';
import { readFields } from './read-input.js';
import {
  type Answer,
  type AnswerName,
  addressOf,
  type BodyName,
  type Columns,
  type Input,
  type QueryName,
  type Row,
  type RowRequest,
  readRowQuery,
  type Shared,
} from './row.js';

/*
 * The rows of commands. The log and the audit record every request for a command: what was done,
 * what was refused because of the request, and what failed.
 */

/** What the handler of a command gets. */
export interface ActionRequest<K, Q, B, C = string> extends RowRequest<K, Q> {
  /** Name of the command. */
  action: C;
  /** Name of the user. */
  actor: string;
  body: Input<B>;
  /** The reason that the body gives. */
  reason: string | undefined;
}

/** What a command was about, for the audit. */
export interface About {
  /** Ids of the tasks concerned. */
  tasks?: readonly string[];
  detail?: Record<string, string | number | boolean>;
}

/** The result of a command. */
export interface Done<A extends AnswerName> {
  answer: Answer<A>;
  /** What the handler learned for the audit; `null` if it changed nothing: nothing is recorded. */
  audit?: About | null;
}

/** Columns that only commands have. */
interface ActionColumns<K, Q, B, A extends AnswerName, C> extends Columns<Q, B, A> {
  /** Name of the command in the audit. */
  action: C;
  /** Bytes that the body may have. Default 64 KiB. */
  bodyLimit?: number;
  /** Returns what the command is about, as far as the address says. */
  about?: (request: Pick<RowRequest<K, Q>, 'ctx' | 'params'>) => About;
  handler: (request: ActionRequest<K, Q, B, C>) => Promise<Done<A>>;
}

/** Makes the row of a route that changes something, with an entry in the log and in the audit. */
export function actionRow<
  const K extends `${'POST' | 'DELETE'} ${string}`,
  const C extends string,
  A extends AnswerName,
  Q extends QueryName | undefined = undefined,
  B extends BodyName | undefined = undefined,
>(
  key: K,
  { handler, about, bodyLimit, ...columns }: ActionColumns<NoInfer<K>, Q, B, A, C>,
): Row<K, Q, B, A> {
  const { requiredRole, action, query, body, status = 200 } = columns;
  const route = (shared: Shared): Route => ({
    ...addressOf(key),
    requiredRole,
    action,
    takesBody: body !== undefined,
    handler: async (ctx, { params, actor: user }) => {
      const { access, logger } = shared;
      const actor = nameOf(user);
      const request = { ...shared, ctx, params, action, actor };
      const known = about?.(request);
      let reason: string | undefined;
      const recordAs = (outcome: AuditEvent['outcome'], { tasks, ...learned }: About): void => {
        const detail = { ...known?.detail, ...learned.detail, ...(reason && { reason }) };
        record(ctx, access, logger, {
          action,
          actor,
          tasks: tasks ?? known?.tasks,
          ...(Object.keys(detail).length > 0 && { detail }),
          outcome,
        });
      };
      try {
        const inputs = {
          query: (await readRowQuery(query ?? 'noQuery', ctx.querystring, body)) as Input<Q>,
          body: await readRowBody(body, ctx, bodyLimit),
        };
        reason = (inputs.body as { reason?: string } | undefined)?.reason;
        const { answer, audit = {} } = await handler({ ...request, ...inputs, reason });
        if (audit) recordAs('done', audit);
        ctx.body = answer;
        ctx.status = status;
      } catch (error) {
        const { code, status: of } = toTaskflowError(error);
        recordAs(of < 500 ? 'refused' : 'failed', { detail: { code } });
        throw error;
      }
    },
  });
  return { ...columns, key, route };
}

function nameOf(actor: Actor | undefined): string {
  // The name that the app's own login returns may be of any length, and hold any character.
  return storableText(actor?.name ?? '', 256) || 'anonymous';
}

/** Reads a body. An absent one has no members. */
async function readRowBody<B extends BodyName | undefined>(
  name: B | undefined,
  ctx: Context,
  limit = 64 * 1024,
): Promise<Input<B>> {
  if (name === undefined) return undefined as Input<B>;
  const { fields } = hasBody(ctx)
    ? await readBody(ctx, { types: ['json'], limit })
    : { fields: {} };
  return (await readFields(name, fields)) as Input<B>;
}

/** The user who gives a command, and the tasks that it is for. */
export type Commander = Pick<Shared, 'tasks'> &
  Pick<ActionRequest<never, never, never>, 'actor' | 'reason'>;

/**
 * Gives a command to the engine.
 * @throws TaskflowError NOT_SUPPORTED if the engine has none.
 */
export async function control(
  { tasks, actor, reason }: Commander,
  command: Command,
  by: Pick<CommandBy, 'dryRun' | 'expect'> = {},
): Promise<Outcome> {
  if (!tasks.can.has(command.action))
    throw new TaskflowError('NOT_SUPPORTED', `This engine does not support ${command.action}.`);
  return tasks.control(command, { ...by, actor, reason });
}
