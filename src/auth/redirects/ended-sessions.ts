import type { Context } from 'koa';
import { TaskflowError } from '../../errors.js';
import { readBody } from '../../http/body.js';
import type { AuthLog } from '../auth-log.js';
import { logThrottled } from '../authenticate.js';
import { requestInfo } from '../request-info.js';
import type { EndedUser } from '../strategies/strategy.js';
import type { Throttle } from '../throttle/throttle.js';
import type { Providers } from './providers.js';

/** The parts that read the messages of providers. */
export interface EndedDeps {
  providers: Pick<Providers, 'ended'>;
  endSessions(strategy: string, user: EndedUser): Promise<void>;
  throttle: Pick<Throttle, 'callback'>;
  log: Pick<AuthLog, 'throttled' | 'endedBy'>;
}

/** Maximum size in bytes of a message of a provider. */
const bodyLimit = 16 * 1024;

/** Ends the sessions that a message of a provider names. */
export async function readEnded(ctx: Context, strategy: string, deps: EndedDeps): Promise<void> {
  const { providers, endSessions, throttle, log } = deps;
  const request = requestInfo(ctx);
  const { fields } = await readBody(ctx, { types: ['form'], limit: bodyLimit });
  const form = Object.fromEntries(
    Object.entries(fields).filter(
      (entry): entry is [string, string] => typeof entry[1] === 'string',
    ),
  );
  const onThrottled = logThrottled(log, request, undefined);
  const counted = await throttle.callback(request.ip, onThrottled, 'callback');
  let isValid = true;
  let users: Awaited<ReturnType<Providers['ended']>>;
  try {
    users = await providers.ended(ctx, strategy, form);
    isValid = users !== 'invalid';
  } finally {
    await (isValid ? counted.withdrawn() : counted.failed());
  }
  if (users === undefined)
    throw new TaskflowError('STORE_UNAVAILABLE', 'The message cannot be checked now.', {
      reported: true,
    });
  if (users === 'invalid') throw new TaskflowError('INVALID_INPUT', 'The message is not valid.');
  for (const user of users) {
    await endSessions(strategy, user);
    log.endedBy(request, strategy, user);
  }
  ctx.status = 200;
  ctx.body = '';
}
