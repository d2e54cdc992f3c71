import type { Context } from 'koa';
import { TaskflowError } from '../../errors.js';
import { readBody } from '../../http/body.js';
import { networkOf } from '../../http/client-address.js';
import type { AuthLog } from '../auth-log.js';
import { logThrottled } from '../authenticate.js';
import { requestInfo } from '../request-info.js';
import type { EndedUser } from '../strategies/strategy.js';
import type { Throttle } from '../throttle/throttle.js';
import { MessageQueue, retryAfter } from './message-queue.js';
import type { Providers } from './providers.js';

/** The parts that read the messages of providers. */
export interface EndedDeps {
  providers: Pick<Providers, 'ended'>;
  endSessions(strategy: string, user: EndedUser): Promise<void>;
  throttle: Pick<Throttle, 'malformed'>;
  log: Pick<AuthLog, 'throttled' | 'endedBy'>;
}

/** Maximum size in bytes of a message of a provider. */
const bodyLimit = 16 * 1024;

/** Makes the function that ends the sessions that a message of a provider names. */
export function endedSessions(deps: EndedDeps) {
  const { throttle, log } = deps;
  // Each strategy has its own, so that a provider that is slow does not delay the others.
  const queues = new Map<string, MessageQueue>();
  const queueOf = (strategy: string): MessageQueue => {
    const queue = queues.get(strategy) ?? new MessageQueue();
    queues.set(strategy, queue);
    return queue;
  };
  return async function readEnded(ctx: Context, strategy: string): Promise<void> {
    const request = requestInfo(ctx);
    const { fields } = await readBody(ctx, { types: ['form'], limit: bodyLimit });
    const form = Object.fromEntries(
      Object.entries(fields).filter(
        (entry): entry is [string, string] => typeof entry[1] === 'string',
      ),
    );
    const onThrottled = logThrottled(log, request, undefined);
    const isValid = await queueOf(strategy).run(
      networkOf(request.ip),
      () => endNamed(ctx, strategy, form, deps),
      (refused) => onThrottled('queue', retryAfter, refused),
    );
    if (!isValid) {
      // Only invalid messages count. Strangers behind the address of the provider, or many messages
      // at once, must not keep a session open.
      await throttle.malformed(request.ip, onThrottled, 'message');
      throw new TaskflowError('INVALID_INPUT', 'The message is not valid.');
    }
    ctx.status = 200;
    ctx.body = '';
  };
}

/** Ends the sessions that a message names. Resolves to `false` if the message is not valid. */
async function endNamed(
  ctx: Context,
  strategy: string,
  form: Readonly<Record<string, string>>,
  { providers, endSessions, log }: EndedDeps,
): Promise<boolean> {
  const users = await providers.ended(ctx, strategy, form);
  if (users === undefined)
    throw new TaskflowError('STORE_UNAVAILABLE', 'The message cannot be checked now.', {
      headers: { 'Retry-After': String(retryAfter) },
      reported: true,
    });
  if (users === 'invalid') return false;
  for (const user of users) {
    await endSessions(strategy, user);
    log.endedBy(requestInfo(ctx), strategy, user);
  }
  return true;
}
