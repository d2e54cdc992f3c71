import { outOfRange, rangeError, typeError, wrongType } from '../options.js';
import { ownMembers } from '../plain-object.js';
import { encodeArguments } from './arguments.js';
import { checkArgument, plainCopy, refuseUndefined, withAbsent } from './check-schema.js';
import { type Action, type Command, type CommandBy, targets } from './commands.js';
import type { TaskFilter } from './engine-queries.js';
import type * as Queries from './query-schemas.js';
import { filterOf, loadQueries } from './read-queries.js';

/** Maximum number of bytes of new arguments that are read. The manager also has a limit. */
const maxArgumentBytes = 64 * 1024 * 1024;
/**
 * Maximum number of search words in a command. An engine ignores further words, so the command
 * would find more tasks than intended.
 */
const maxWords = 20;

const filterAccepted =
  "an object of conditions such as { status: ['failed'] }, or 'all' for every task";

type Given = Record<string, unknown>;

/**
 * Checks a command and its actor, and returns both in the form that an engine takes. A mistake must
 * never select every task. Unknown keys, `undefined` values, an empty filter, and neither or both
 * of `ids` and `filter` are therefore refused.
 *
 * @throws TypeError or RangeError with code INVALID_INPUT.
 */
export async function readCommand(
  command: unknown,
  by: unknown,
  now: number,
): Promise<[command: Command, by: CommandBy]> {
  const schemas = await loadQueries();
  const given = plainCopy('command', command, "an object such as { action: 'cancel', ids: [id] }");
  refuseMisplaced(given);
  refuseUndefined('command', given);
  const { action } = given;
  if (!isAction(action)) throw wrongAction(action);
  if (given.filter !== undefined && given.filter !== 'all') {
    given.filter = plainCopy('command.filter', given.filter, filterAccepted, ['from', 'to']);
    refuseUndefined('command.filter', given.filter as Given);
  }
  const checked = ownMembers(
    checkArgument('command', schemas.commands[action], given) as Given & { action: Action },
  );
  oneTarget(action, checked);
  const who = readBy(schemas, by);
  const toTasks = checked.filter !== undefined || (checked.ids !== undefined && action !== 'rerun');
  if (!toTasks && (who.dryRun === true || who.expect !== undefined))
    throw typeError(
      `by.${who.dryRun === true ? 'dryRun' : 'expect'} works only with cancel, delete, retry ` +
        `and run of tasks, not with this '${action}'`,
    );
  return [commandOf(schemas, checked, now), who];
}

/**
 * Refuses keys of the second argument, such as `dryRun`, in the first. This also detects swapped
 * arguments.
 */
function refuseMisplaced(given: Given): void {
  const misplaced = ['actor', 'reason', 'dryRun', 'expect'].find((key) =>
    Object.hasOwn(given, key),
  );
  if (misplaced !== undefined)
    throw typeError(
      `command has the key "${misplaced}", which belongs to the second argument: ` +
        "control(command, { actor: 'ada', … })",
    );
}

function isAction(action: unknown): action is Action {
  return typeof action === 'string' && Object.hasOwn(targets, action);
}

function wrongAction(action: unknown): Error {
  const accepted = `one of ${Object.keys(targets).join(', ')}`;
  return typeof action === 'string'
    ? outOfRange('command.action', action, accepted)
    : wrongType('command.action', action, accepted);
}

function oneTarget(action: Action, given: Given): void {
  const keys: readonly string[] = targets[action];
  const found = keys.filter((key) => given[key] !== undefined);
  const wanted = keys.length === 1 ? keys[0] : `exactly one of: ${keys.join(', ')}`;
  if (found.length !== 1)
    throw typeError(
      `command '${action}' has ${found.join(' and ') || 'no target'}; it must have ${wanted}`,
    );
}

function readBy({ commandBy }: typeof Queries, by: unknown): CommandBy {
  const given = plainCopy('by', by, "an object such as { actor: 'ada' }");
  const { reason, ...rest } = given;
  // Only `reason` may be undefined. An undefined `dryRun` or `expect` would remove a safeguard.
  refuseUndefined('by', rest);
  if (reason === undefined) delete given.reason;
  return withAbsent(commandBy, checkArgument('by', commandBy, given) as CommandBy);
}

/** Returns the checked command in the form that an engine takes. */
function commandOf(
  { conditions }: typeof Queries,
  checked: Given & { action: Action },
  now: number,
): Command {
  const { ids, filter, args, ...rest } = checked;
  const chosen = filter === 'all' ? {} : (filter as object);
  return ownMembers({
    ...rest,
    ...(ids !== undefined && { ids: [...new Set(ids as string[])] }),
    ...(filter !== undefined && {
      filter: commandFilter(withAbsent(conditions, chosen), now),
    }),
    ...(args !== undefined && {
      args: encodeArguments('rerun', args as readonly unknown[], maxArgumentBytes),
    }),
  }) as Command;
}

function commandFilter(filter: Parameters<typeof filterOf>[0], now: number): TaskFilter {
  const words = filter.q?.match(/[\p{L}\p{N}]+/gu)?.length ?? 0;
  if (words > maxWords)
    throw rangeError(`command.filter.q has ${words} words; a command takes at most ${maxWords}`);
  return filterOf(filter, now);
}
