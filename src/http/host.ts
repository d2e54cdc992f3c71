import { isIP } from 'node:net';
import type { Context } from 'koa';
import { TaskflowError } from '../errors.js';
import { listOption } from '../options.js';

/**
 * Reads the option `allowedHosts`, a list of host names without a port. Returns them in lower case.
 */
export function allowedHostsOption(
  option: string,
  value: readonly string[] | undefined,
): ReadonlySet<string> {
  const hosts = listOption(
    option,
    value,
    "host names without a port, such as 'tasks.internal'",
    (item) => /^[a-z0-9.-]+$/i.test(item),
  );
  return new Set(hosts.map((host) => host.toLowerCase()));
}

/**
 * Returns the name in a Host header without its port, or `undefined` if the header is not valid.
 */
function hostName(header: string): string | undefined {
  const match = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?$/i.exec(header);
  return match?.[1]?.toLowerCase().replace(/^\[|\]$/g, '');
}

function isLocal(name: string): boolean {
  return name === 'localhost' || name.endsWith('.localhost') || isIP(name) !== 0;
}

/**
 * Refuses host names that another site can point to this address. Without a login, this prevents
 * DNS rebinding: a name that resolves to this address would make a page of that site same-origin.
 */
export function refuseForeignHost(ctx: Context, allowed: ReadonlySet<string>): void {
  // HTTP/2 sends the host as `:authority`. It may also send `Host`, which must then be the same.
  const named = ctx.req.httpVersionMajor > 1 ? [':authority', 'host'] : ['host'];
  const all = ctx.req.rawHeaders.filter(
    (_value, index, raw) => index % 2 === 1 && named.includes(raw[index - 1]?.toLowerCase() ?? ''),
  );
  const headers = ctx.req.httpVersionMajor > 1 ? [...new Set(all)] : all;
  const [header] = headers;
  if (headers.length !== 1 || !header)
    throw new TaskflowError('INVALID_INPUT', 'The request needs exactly one Host header.');
  const forwarded = ctx.app.proxy ? ctx.get('X-Forwarded-Host').split(',')[0]?.trim() : '';
  const name = hostName(forwarded || header);
  if (name === undefined || !(isLocal(name) || allowed.has(name))) {
    throw new TaskflowError(
      'HOST_NOT_ALLOWED',
      'Without a login, the app answers only requests to IP addresses and localhost. Add this ' +
        'host to the option allowedHosts, or configure auth.',
    );
  }
}
