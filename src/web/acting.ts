import type { Context } from 'koa';
import type { z } from 'zod';
import { TaskflowError } from '../errors.js';
import type { Access, Actor } from '../http/access.js';
import { hasBody, readBody } from '../http/body.js';
import { type Route, record } from '../http/routes.js';
import type { Logger } from '../options.js';
import type { CommandBy, Outcome } from '../tasks/engine.js';
import type { Command, TaskSource } from '../tasks/source.js';
import { readFields } from './read-input.js';

/** What the routes of actions share. */
export interface ActionParts {
  access: Access;
  logger: Logger;
}

/** What every action of one request needs. */
export interface Acting extends ActionParts {
  ctx: Context;
  tasks: TaskSource;
  actor: string;
  /** Why it is done, as the body says. */
  reason?: string | undefined;
}

/** What was done, for the audit. */
interface Told {
  /** Ids of the tasks concerned. */
  tasks?: readonly string[];
  detail?: Record<string, string | number | boolean>;
}

/** A route that changes something: for operators, with a row in the audit. */
export function actionRoute(
  { access, logger }: ActionParts,
  tasks: TaskSource,
  route: Pick<Route, 'method' | 'path'> & { action: string },
  handle: (acting: Acting, name: string) => Promise<void>,
): Route {
  return {
    ...route,
    need: 'operator',
    handler: (ctx, { params, actor }) =>
      handle({ ctx, tasks, access, logger, actor: nameOf(actor) }, params.id ?? params.name ?? ''),
  };
}

function nameOf(actor: Actor | undefined): string {
  // The name that the app's own login returns may be of any length, and hold any character.
  return actor?.name.slice(0, 256).replaceAll('\0', '\ufffd') || 'anonymous';
}

/** Gives a command to the engine. @throws TaskflowError NOT_SUPPORTED where it cannot do that. */
export async function control(
  { tasks, actor, reason }: Acting,
  command: Command,
  by: Pick<CommandBy, 'dryRun' | 'expect'> = {},
): Promise<Outcome> {
  if (!tasks.can.has(command.action))
    throw new TaskflowError('NOT_SUPPORTED', `This engine cannot ${command.action}.`);
  return tasks.control(command, { ...by, actor, reason });
}

/**
 * Does something, and tells the log and the audit how that went: what it was about, and what `act` learned while doing it; with
 * `told: null` nothing was changed, and nothing is told.
 */
export async function told<T extends { told?: Told | null }>(
  acting: Acting,
  action: string,
  about: Told,
  act: () => Promise<T>,
): Promise<T> {
  const { ctx, access, logger, actor } = acting;
  const event = { action, actor, ...about };
  const why = (): { reason?: string } => (acting.reason ? { reason: acting.reason } : {});
  try {
    const result = await act();
    const detail = { ...about.detail, ...result.told?.detail, ...why() };
    if (result.told !== null)
      record(ctx, access, logger, {
        ...event,
        ...result.told,
        ...(Object.keys(detail).length > 0 && { detail }),
        outcome: 'done',
      });
    return result;
  } catch (error) {
    const known = error instanceof TaskflowError;
    record(ctx, access, logger, {
      ...event,
      outcome: known && error.status < 500 ? 'refused' : 'failed',
      detail: { ...about.detail, ...why(), code: known ? error.code : 'INTERNAL' },
    });
    throw error;
  }
}

/** The body of an action, of at most so many bytes, and the reason it gives; one that is absent has no members. */
export async function readAction<S extends z.ZodObject>(
  acting: Acting,
  schema: S,
  limit = 64 * 1024,
): Promise<z.output<S>> {
  const { ctx } = acting;
  const { fields } = hasBody(ctx)
    ? await readBody(ctx, { types: ['json'], limit })
    : { fields: {} };
  const body = readFields(schema, fields);
  if (typeof body.reason === 'string') acting.reason = body.reason;
  return body;
}
