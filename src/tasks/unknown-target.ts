import { didYouMean } from '../did-you-mean.js';
import { TaskflowError } from '../errors.js';
import { quote } from '../show-value.js';
import type { Command, Outcome } from './commands.js';
import type { EngineReader } from './engine.js';

/** Maximum number of names that an error lists. */
const maxListed = 20;

/**
 * Returns the outcome of a command. Throws if the engine does not know the queue or the schedule,
 * because a command with a misspelt name would otherwise seem to have worked.
 *
 * @throws TaskflowError NOT_FOUND that lists the known names.
 */
export async function knownTarget(
  command: Command,
  outcome: Outcome,
  engine: Pick<EngineReader, 'describe'>,
): Promise<Outcome> {
  if (outcome.known !== false) return outcome;
  const [kind, name, list] =
    'queue' in command
      ? (['queue', command.queue, (await engine.describe()).queues] as const)
      : ([
          'schedule',
          'schedule' in command ? command.schedule : '',
          (await engine.describe()).schedules,
        ] as const);
  const names = list.map((each) => each.name);
  const rest = names.length > maxListed ? ', …' : '';
  const some =
    names.length === 0
      ? ' There are none.'
      : ` Known: ${names.slice(0, maxListed).join(', ')}${rest}.`;
  throw new TaskflowError(
    'NOT_FOUND',
    `There is no ${kind} ${quote(name)}.${didYouMean(name, names)}${some}`,
  );
}
