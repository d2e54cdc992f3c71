import type { Context } from 'koa';
import { didYouMean } from '../did-you-mean.js';
import { TaskflowError } from '../errors.js';
import { type ParsedBody, readBody } from '../http/body.js';
import { grouped, quote } from '../show-value.js';
import type { AuthLog } from './auth-log.js';
import { logThrottled } from './authenticate.js';
import { isSafeNext } from './next.js';
import { requestInfo } from './request-info.js';
import type { Throttle } from './throttle/throttle.js';

/** Maximum size in bytes of the body of a login. */
const bodyLimit = 16 * 1024;

const fieldNames = ['username', 'password', 'strategy', 'next'];

/** The checked fields of a login. */
export interface LoginForm {
  username: string;
  password: string;
  strategy: string | undefined;
  next: string | undefined;
}

interface FormDeps {
  throttle: Pick<Throttle, 'malformed'>;
  log: Pick<AuthLog, 'fail' | 'throttled'>;
}

/**
 * Reads the body of a login. A body that is not valid counts as a failed attempt of the address.
 */
export async function readForm(ctx: Context, { throttle, log }: FormDeps): Promise<LoginForm> {
  try {
    return formOf(await readBody(ctx, { types: ['json', 'form'], limit: bodyLimit }));
  } catch (error) {
    const request = requestInfo(ctx);
    await throttle.malformed(request.ip, logThrottled(log, request, undefined));
    log.fail(request, 'malformed', undefined, 1);
    throw error;
  }
}

/**
 * Checks the fields of a login. A form may have other fields, such as a token of the app. JSON may
 * not: with a misspelt `strategy`, the login would ask all strategies.
 */
function formOf({ type, fields }: ParsedBody): LoginForm {
  const unknown = Object.keys(fields).find((name) => !fieldNames.includes(name));
  if (type === 'json' && unknown !== undefined)
    throw new TaskflowError(
      'INVALID_INPUT',
      `Unknown member ${quote(unknown)} in the body.${didYouMean(unknown, fieldNames)} ` +
        `Allowed: ${fieldNames.join(', ')}.`,
    );
  const own = (name: string): unknown => (Object.hasOwn(fields, name) ? fields[name] : undefined);
  const strategy = own('strategy');
  const next = own('next');
  if (strategy !== undefined && typeof strategy !== 'string')
    throw new TaskflowError('INVALID_INPUT', 'strategy must be a single string.');
  return {
    username: credential('username', own('username'), 256),
    password: credential('password', own('password'), 1024),
    strategy: strategy === '' ? undefined : strategy,
    next: isSafeNext(next) ? next : undefined,
  };
}

/** Checks a name or a password. Returns it exactly as the user typed it. */
function credential(name: string, value: unknown, maxBytes: number): string {
  const refuse = (text: string): TaskflowError => new TaskflowError('INVALID_INPUT', text);
  if (typeof value !== 'string' || value === '')
    throw refuse(`${name} is missing or is not a single string.`);
  if (Buffer.byteLength(value) > maxBytes)
    throw refuse(`${name} may have at most ${grouped(maxBytes)} bytes.`);
  if (/[\0\p{Cs}\ufffd]/u.test(value))
    throw refuse(`${name} contains characters that are not valid text.`);
  return value;
}
