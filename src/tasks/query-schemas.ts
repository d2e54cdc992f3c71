import { z } from 'zod';
import { didYouMean } from '../did-you-mean.js';
import { grouped, quote } from '../show-value.js';
import { fitsName, isName, maxNameBytes, nameAccepted } from './names.js';
import { isTaskId } from './task-id.js';
import { readTime } from './time-text.js';
import { logLevels, type TaskStatus, taskStatuses } from './types.js';

/*
 * The schemas of queries and commands, each defined once:
 * - `checked-source.ts` checks calls from code against them, and the HTTP API checks requests.
 * - The OpenAPI document is generated from them.
 * - The types of `source.ts` and of the typed client are inferred from them.
 *
 * This module is loaded with the first call that needs it, because zod takes longer to load than
 * Koa. The message of a schema is also that of its checks that have none of their own.
 */

/** Returns the schema of a whole number within a range. */
export const whole = (min: number, max: number) => {
  const message = `must be a whole number from ${grouped(min)} to ${grouped(max)}`;
  return z.int(message).min(min).max(max);
};

/**
 * Returns the schema of a text that is not empty. SQLite ends text at a NUL, so a name that
 * contains one would match a shorter name.
 */
export const words = (max: number) => {
  const message = `must be a string of 1 to ${grouped(max)} characters`;
  return z
    .string(message)
    .min(1)
    .max(max)
    .regex(/^[^\0]*$/, 'must not contain NUL characters');
};

/**
 * The name of a task, a queue or a schedule. It may be longer than a name that can be defined with
 * this package, because BullMQ allows that.
 */
export const name = z.string(`must be ${nameAccepted}`).min(1).max(maxNameBytes).refine(isName);

/** Returns the schema of one of several words. */
export const oneOf = <const T extends readonly string[]>(values: T) =>
  z.enum(values, `must be one of ${values.join(', ')}`);

/** Returns the error text for an unknown key. */
function unknownKey(key: string, known: readonly string[]): string {
  return `has an unknown key ${quote(key)}.${didYouMean(key, known)} Allowed: ${known.join(', ')}`;
}

/** Returns the schema of an object. Its error for an unknown key lists the known keys. */
export const strict = <T extends z.core.$ZodLooseShape>(shape: T) =>
  z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? unknownKey(String(issue.keys?.[0]), Object.keys(shape))
        : 'must be an object',
  });

const aTime = 'must be a time such as 2026-11-03T14:00:00Z, or relative to now such as -6h or -7d';

/** A time: ISO 8601, or relative to now. */
export const time = z
  .string(aTime)
  .refine((text) => readTime(text, 0) !== undefined)
  .meta({ examples: ['2026-11-03T14:00:00Z', '-6h'] });

const sortKeys = ['createdAt', 'startedAt', 'endedAt', 'duration', 'name', 'status'] as const;
const sorts = [...sortKeys, ...sortKeys.map((key) => `-${key}` as const)] as const;

/**
 * The end of the previous page. It may contain the id of a BullMQ job with its queue, encoded as
 * four characters for three bytes.
 */
export const cursor = z
  .string('must be the nextCursor of a list')
  .max(Math.ceil((maxNameBytes * 4) / 3) + 200);

/**
 * Makes a list of a single string: code may pass `status: 'failed'`, like `status=failed` in a URL.
 */
const asList = <T extends string>(given: T | readonly T[]): readonly T[] =>
  typeof given === 'string' ? [given] : given;

const someStates =
  "must be a state or a list of states, such as ['failed']. The states: " +
  `${taskStatuses.join(', ')}`;
const someTags = 'must be a tag or a list of 1 to 10 tags, each a key or key:value';
const aTag = 'must be a key, or key:value, with a key of 1 to 64 characters';

/** The conditions that select tasks. A task must meet all of them. */
export const conditions = strict({
  /** One or more states. The task is in one of them. */
  status: z.preprocess(
    asList<TaskStatus>,
    z.array(oneOf(taskStatuses), someStates).min(1).max(taskStatuses.length),
  ),
  /** The name of the task. */
  name,
  queue: name,
  /** One or more tags, each a key or `key:value`. The task has all of them. */
  tag: z.preprocess(
    asList<string>,
    z
      .array(z.string(aTag).regex(/^[^:]{1,64}(:.{1,256})?$/su), someTags)
      .min(1)
      .max(10, 'may be given at most ten times'),
  ),
  /** The fingerprint of a failure group, as in `fingerprint` of a task. */
  fingerprint: z
    .string('must be the 16 hexadecimal digits of a failure group')
    .regex(/^[0-9a-f]{16}$/),
  /** The name of the schedule that created the task. */
  schedule: name,
  /**
   * Finds tasks by words, by a whole tag, or by the beginning of their id. The words may be in the
   * name, in a tag or in a failure (name, error, tags). It may be as long as the id of a BullMQ
   * job.
   */
  q: words(maxNameBytes),
  /** Created at or after this time: ISO 8601, or relative to now such as `-6h`. */
  from: time,
  /** Created before this time. */
  to: time,
}).partial();

/** `GET P`. */
export const listQuery = strict({
  ...conditions.shape,
  /**
   * Default `-createdAt`, the newest first. Tasks without a value come last. Tasks with equal
   * values are sorted by id.
   */
  sort: oneOf(sorts).optional(),
  /** Maximum number of tasks on a page, 1 to 500. Default 50. */
  limit: whole(1, 500).optional(),
  /** The `nextCursor` of the previous page. */
  cursor: cursor.optional(),
});

const trueOrFalse = z.boolean('must be true or false');

/** The query of `find`. */
export const findQuery = strict({
  ...listQuery.shape,
  /** If `false`, the page has no exact `total`, which takes less time. */
  counted: trueOrFalse.optional(),
});

/** `GET P/:id/logs`. */
export const logQuery = strict({
  /** Lines after this number. */
  after: whole(0, 999_999_999),
  /** The last lines before this number, instead of the first ones after a number. */
  before: whole(1, 999_999_999),
  /** Lines of this attempt, and lines of other programs, whose attempt is unknown. */
  attempt: whole(1, 999_999_999),
  /** Lines of this level or a more severe one. */
  level: oneOf(logLevels),
  /** Lines whose message or fields contain this text. ASCII letters match in any case. */
  q: words(200),
  /** Maximum number of lines on a page, 1 to 1,000. Default 500. */
  limit: whole(1, 1000),
}).partial();

/** The query of `logs`. It allows as many lines as a task keeps by default. */
export const linesQuery = strict({
  ...logQuery.shape,
  /** Maximum number of lines, 1 to 10,000. Default 500. */
  limit: whole(1, 10_000).optional(),
});

/** `GET P/:id`. */
export const detailQuery = strict({
  /**
   * Maximum number of log lines that come with the task, the last ones, 0 to 10,000. Default
   * 10,000.
   */
  logs: whole(0, 10_000).optional(),
});

/** `GET P/metrics`. */
export const metricsQuery = strict({
  /** Start of the range: ISO 8601, or relative to now such as `-1h`. Default: all time. */
  from: time,
  /** End of the range. Default: now. */
  to: time,
  /** Seconds per point of the series, 60 to 31,536,000. */
  step: whole(60, 31_536_000),
}).partial();

/** The query of `aggregate('metrics')`. */
export const rangeQuery = strict({
  ...metricsQuery.shape,
  /** If `false`, the series is empty, which takes less time. */
  series: trueOrFalse.optional(),
});

/** `GET P/failures`. */
export const failureQuery = strict({
  /** The name of the task. */
  name,
  /** Groups that were seen at this time or later. */
  from: time,
  /** Maximum number of groups on a page, 1 to 500. Default 50. */
  limit: whole(1, 500),
  /** The `nextCursor` of the previous page. */
  cursor,
}).partial();

const anId = `must be the id of a task: a string of 1 to ${grouped(maxNameBytes)} bytes`;

/** Returns the schema of a list of task ids. */
export const ids = (min: number, max: number) =>
  z
    .array(
      z.string(anId).min(1).max(maxNameBytes).refine(fitsName),
      'must be a list of ids of tasks',
    )
    .min(min, 'must have at least one id')
    .max(max, `must have at most ${grouped(max)} ids`);

/** The id of one task. */
export const taskId = z.string(anId).max(maxNameBytes).refine(isTaskId);

const unchosen = "has no condition; it must have at least one, or be 'all' to select every task";

/**
 * The tasks of a command: those that meet the conditions, or `'all'`. An empty object is refused,
 * because it may be a mistake.
 */
export const commandFilter = z.union(
  [
    z.literal('all'),
    conditions
      .refine((filter) => Object.keys(filter).length > 0, unchosen)
      .meta({ minProperties: 1 }),
  ],
  "must be an object of conditions, as in a list, or 'all' to select every task",
);

/** The number of seconds over which retried tasks come due. */
export const spread = z.number('must be a number of seconds from 0 to 86,400').min(0).max(86_400);

/** If `true`, nothing is changed, and the answer says what the command would do. */
export const dryRun = trueOrFalse;

/** The number of tasks that the command must find. */
export const expect = whole(0, 1_000_000_000);

/** The reason for a command, for the audit. */
export const reason = z.string('must be a string of at most 500 characters').max(500);

/** New arguments of a task. */
export const args = z.array(z.unknown(), 'must be a list of arguments');

/** The action of a command. It has been checked, because it decides which schema applies. */
const action = z.string();

const toTasks = strict({
  action,
  /** Ids of the tasks, at most 10,000. A repeated id counts once. */
  ids: ids(0, 10_000).optional(),
  /**
   * Conditions as in `find`, or `'all'`. The command applies to the oldest 10,000 matching tasks.
   */
  filter: commandFilter.optional(),
});
const toPause = strict({ action, queue: name.optional(), schedule: name.optional() });

/**
 * The keys of each command, by its action. `read-command.ts` checks which targets exclude each
 * other.
 */
export const commands = {
  cancel: toTasks,
  delete: toTasks,
  retry: strict({ ...toTasks.shape, spread: spread.optional() }),
  run: strict({ ...toTasks.shape, schedule: name.optional() }),
  rerun: strict({ action, ids: ids(0, 10_000), args: args.optional() }),
  pause: toPause,
  resume: toPause,
  remove: strict({ action, schedule: name }),
};

/** The actor of a command, and its safeguards. */
export const commandBy = strict({
  actor: words(256),
  reason: reason.optional(),
  dryRun: dryRun.optional(),
  expect: expect.optional(),
});
