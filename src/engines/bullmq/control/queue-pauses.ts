import { wrongType } from '../../../options.js';
import type { Command, CommandBy, Outcome } from '../../../tasks/commands.js';
import type { QueueState } from '../../../tasks/queue-state.js';
import { maxPausedQueues, tooManyPauses } from '../../paused-queues.js';
import { send } from '../connection/pipelines.js';
import { commanding } from '../connection/redis-calls.js';
import { redisScript, runScript } from '../connection/redis-script.js';
import type { StoredQueues } from '../queues/queue-catalog.js';
import { pauseBy, pauseOf } from '../stored-pause.js';
import type { CommandDeps } from './command-deps.js';

/*
 * Queues are paused by the label that users know. A label may stand for several BullMQ queues,
 * which are paused one by one. A hash stores who paused a label and why. `QueueCatalog` reads that
 * hash before a queue joins the label.
 */

/** Pauses or resumes a queue. */
export async function controlQueue(
  deps: CommandDeps,
  { action, queue: label }: Extract<Command, { queue: string }>,
  by: CommandBy,
): Promise<Outcome> {
  // A JavaScript caller that uses an engine directly is not protected by types.
  if (typeof label !== 'string') throw wrongType('queue', label, 'the name of a queue');
  await deps.ask(async ({ sending, changed }) => {
    sending();
    if (action === 'pause') await storePause(deps, label, by);
    else await deps.redis.hdel(deps.keys.pauses, label);
    changed();
    await setAll(deps, label, action === 'pause');
  }, commanding);
  return { results: [], known: true };
}

/**
 * Stores a pause first: a queue that joins the label at the same time is either in a list that is
 * read next, or is paused when it is added. If the label is already paused, its first pause stays.
 */
async function storePause(
  { redis, keys, catalog }: CommandDeps,
  label: string,
  by: CommandBy,
): Promise<void> {
  await catalog.refresh();
  const metas = catalog.ofLabel(label).map(({ queue }) => keys.ofQueue(queue, 'meta'));
  const args = [label, JSON.stringify(pauseBy(by)), metas.length > 0 ? '' : maxPausedQueues];
  const stored = await runScript(redis, store, [keys.pauses, ...metas], args);
  if (stored === 0) throw tooManyPauses(label);
}

async function setAll(
  { catalog, steps }: CommandDeps,
  label: string,
  isPaused: boolean,
): Promise<void> {
  const done = new Set<string>();
  for (;;) {
    await catalog.refresh();
    const left = catalog.ofLabel(label).filter(({ queue }) => !done.has(queue));
    if (left.length === 0) return;
    await Promise.all(left.map(({ queue }) => steps.setPaused(queue, isPaused)));
    for (const { queue } of left) done.add(queue);
  }
}

/** Returns all queues, and the labels that were paused before they had a queue. */
export async function queueStates({ redis, keys, catalog }: StoredQueues): Promise<QueueState[]> {
  await catalog.refresh();
  const entries = catalog.all();
  const asked = entries.map(({ queue }) => ['hexists', keys.ofQueue(queue, 'meta'), 'paused']);
  const [stored, ...answers] = await send(redis, [['hgetall', keys.pauses], ...asked]);
  const pauses = stored as Record<string, string>;
  // Another program may have paused or resumed a queue of BullMQ, so a queue says whether it runs.
  const isRunning = new Set(
    entries.filter((_entry, n) => answers[n] === 0).map(({ label }) => label),
  );
  return [...new Set([...entries.map(({ label }) => label), ...Object.keys(pauses)])]
    .sort()
    .map((name) => {
      const paused = !isRunning.has(name);
      const pause = pauses[name];
      return { name, paused, pause: paused && pause !== undefined ? pauseOf(pause) : null };
    });
}

/**
 * Stores a pause, or keeps the one that the label has. Another program may have resumed a queue of
 * the label since. The stored pause has then ended, and the new one replaces it. Returns 0 if the
 * limit refuses the pause. KEYS: the hash of pauses, BullMQ's settings of each queue of the label.
 * ARGV: the label, its pause, and if the label has no queue, how many pauses there may be before
 * this one.
 */
const store = redisScript(`
local function isPaused()
  for n = 2, #KEYS do
    if redis.call('HEXISTS', KEYS[n], 'paused') == 0 then return false end
  end
  return true
end
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then
  if isPaused() then return 1 end
elseif ARGV[3] ~= '' and #redis.call('HGETALL', KEYS[1]) / 2 >= tonumber(ARGV[3]) then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
`);
