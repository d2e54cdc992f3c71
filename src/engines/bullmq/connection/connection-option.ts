import { isIPv6 } from 'node:net';
import { type RedisOptions as AnyRedisOptions, Redis } from 'ioredis';
import { didYouMean } from '../../../did-you-mean.js';
import {
  numberOption,
  outOfRange,
  rangeError,
  typeError,
  wrongKind,
  wrongType,
} from '../../../options.js';
import { wrongSecret, wrongSecretType } from '../../../secret-options.js';
import { quote } from '../../../show-value.js';

/**
 * The options of ioredis without the one that changes the shape of answers, because this package
 * reads the answers.
 */
type PlainOptions = Omit<AnyRedisOptions, 'replyMapping'>;

/** Options of ioredis, and those that BullMQ accepts in addition. */
type RedisOptions = PlainOptions & {
  /** A `redis://` or `rediss://` URL. */
  url?: string;
};

/**
 * Where Redis is: options of ioredis with a `host`, `path`, `sentinels` or `url`, a `redis://` or
 * `rediss://` URL, or an ioredis client. This package duplicates the client and does not change it.
 * It sets retries, timeouts of the connection and the offline queue itself.
 */
export type RedisConnection = RedisOptions | Redis | string;

/**
 * The options of ioredis 6. The compiler reports a missing one. `skipVersionCheck` and `url` are
 * options of BullMQ.
 */
const known: Readonly<Record<keyof AnyRedisOptions | 'url' | 'skipVersionCheck', true>> = {
  url: true,
  skipVersionCheck: true,
  host: true,
  port: true,
  family: true,
  path: true,
  tls: true,
  username: true,
  password: true,
  db: true,
  sentinels: true,
  name: true,
  role: true,
  sentinelUsername: true,
  sentinelPassword: true,
  sentinelTLS: true,
  enableTLSForSentinelMode: true,
  sentinelRetryStrategy: true,
  sentinelReconnectStrategy: true,
  preferredSlaves: true,
  sentinelCommandTimeout: true,
  sentinelMaxConnections: true,
  updateSentinels: true,
  failoverDetector: true,
  natMap: true,
  connectTimeout: true,
  disconnectTimeout: true,
  commandTimeout: true,
  socketTimeout: true,
  keepAlive: true,
  noDelay: true,
  blockingTimeout: true,
  blockingTimeoutGrace: true,
  retryStrategy: true,
  reconnectOnError: true,
  maxRetriesPerRequest: true,
  maxLoadingRetryTime: true,
  enableReadyCheck: true,
  enableOfflineQueue: true,
  offlineQueue: true,
  commandQueue: true,
  autoResubscribe: true,
  autoResendUnfulfilledCommands: true,
  enableAutoPipelining: true,
  autoPipeliningIgnoredCommands: true,
  connectionName: true,
  disableClientInfo: true,
  clientInfoTag: true,
  lazyConnect: true,
  readOnly: true,
  monitor: true,
  stringNumbers: true,
  protocol: true,
  replyMapping: true,
  keyPrefix: true,
  scripts: true,
  himportFieldsets: true,
  showFriendlyErrorStack: true,
  Connector: true,
};

/** Options that say where Redis is. Without any of them ioredis would silently use localhost. */
const places = ['host', 'path', 'sentinels', 'url', 'Connector'] as const;

const accepted =
  'ioredis options such as { host, port }, a redis:// or rediss:// URL, or an ioredis client';
const acceptedUrl = 'a redis:// or rediss:// URL, such as redis://127.0.0.1:6379';

/**
 * Checks a connection, and creates a client of ioredis for it.
 *
 * @param fixed The options that this package sets. They are removed from the query of a URL,
 * because ioredis would prefer those.
 * @throws TypeError or RangeError if the connection is not valid. The error never contains a
 * password.
 */
export function createClient(
  connection: RedisConnection,
  fixed: PlainOptions & { replyMapping: 'legacy' },
): Redis {
  if (typeof connection === 'string')
    return new Redis(redisUrl('connection', connection, fixed), fixed);
  if (
    typeof connection !== 'object' ||
    connection === null ||
    Object.prototype.toString.call(connection) !== '[object Object]'
  )
    throw wrongSecretType('connection', connection, accepted);
  if (isClient(connection)) return connection.duplicate(fixed);
  checkNames('connection', Object.keys(connection));
  checkPlace(connection);
  checkOptions(connection);
  const { url, skipVersionCheck, ...given } = connection as RedisOptions & {
    skipVersionCheck?: boolean;
  };
  const options = { ...given, ...fixed };
  return url === undefined
    ? new Redis(options)
    : new Redis(redisUrl('connection.url', url, fixed), options);
}

/**
 * Returns the connection of a BullMQ queue, from its options. BullMQ ignores options that ioredis
 * does not have, and its default host is 127.0.0.1.
 */
export function connectionOfQueue(options: object): RedisConnection {
  const given = Object.fromEntries(
    Object.entries(options).filter(([name, value]) => name in known && value !== undefined),
  );
  return places.some((name) => name in given) ? given : { ...given, host: '127.0.0.1' };
}

/**
 * Returns whether this is an ioredis client. A client of another library or of a cluster has a
 * method `duplicate` too, with other arguments.
 *
 * @throws TypeError if this is such a client.
 */
function isClient(connection: RedisOptions | Redis): connection is Redis {
  const { duplicate, defineCommand, isCluster } = connection as Partial<Redis>;
  if (typeof duplicate !== 'function') return false;
  if (typeof defineCommand === 'function' && isCluster !== true) return true;
  throw typeError(
    'connection is ' +
      `${isCluster === true ? 'a client of Redis Cluster' : 'a client of another library'}; it ` +
      `must be ${accepted}`,
  );
}

function checkNames(where: string, names: readonly string[]): void {
  const unknown = names.find((name) => !(name in known));
  if (unknown === undefined) return;
  const hint = didYouMean(unknown, Object.keys(known));
  throw typeError(
    `${where} has no option ${quote(unknown)}.${hint} It takes the options of ioredis 6, and url`,
  );
}

/**
 * Rejects options that name no server. A name without a value usually comes from an environment
 * variable that is not set.
 */
function checkPlace(options: RedisOptions): void {
  const named = places.filter((name) => name in options);
  if (named.some((name) => options[name as keyof RedisOptions] != null)) return;
  const [name] = named;
  if (name !== undefined)
    throw wrongType(
      `connection.${name}`,
      options[name as keyof RedisOptions],
      `set, such as { host: '127.0.0.1' }`,
    );
  throw typeError(
    'connection does not say where Redis is; it must have host, path, sentinels or url, such ' +
      "as { host: '127.0.0.1' }",
  );
}

/** Checks options that ioredis would silently replace, or with which it would never connect. */
function checkOptions({
  host,
  port,
  path,
  username,
  password,
  tls,
  sentinels,
  name,
}: RedisOptions): void {
  if (host != null) checkHost(host);
  checkWhole('connection.port', port, { min: 1, max: 65_535 });
  if (path != null && (typeof path !== 'string' || path === ''))
    throw wrongType('connection.path', path, 'the path of a socket');
  for (const [option, value] of Object.entries({ username, password }))
    if (value != null && typeof value !== 'string')
      throw wrongSecretType(`connection.${option}`, value, 'a string');
  if (
    tls != null &&
    !['boolean', 'string'].includes(typeof tls) &&
    (typeof tls !== 'object' || Array.isArray(tls))
  )
    throw wrongKind('connection.tls', tls, 'options of TLS such as { ca }, or true');
  if (sentinels == null) return;
  const isSentinel = (each: unknown): boolean =>
    typeof each === 'object' && each !== null && 'host' in each;
  if (!Array.isArray(sentinels) || sentinels.length === 0 || !sentinels.every(isSentinel))
    throw wrongKind(
      'connection.sentinels',
      sentinels,
      'a list of { host, port } with at least one',
    );
  if (typeof name !== 'string' || name === '')
    throw wrongType('connection.name', name, 'the name by which the sentinels know Redis');
}

function checkHost(host: unknown): void {
  const alone = 'the name or address of a host';
  if (typeof host !== 'string' || host === '') throw wrongType('connection.host', host, alone);
  // The value may be a URL with a password.
  if (/[/@]/.test(host))
    throw wrongSecret(
      'connection.host',
      `${alone}, without a scheme; for a URL use connection.url`,
      RangeError,
    );
  if (host.includes(':') && !isIPv6(host))
    throw outOfRange('connection.host', host, `${alone}; give the port in connection.port`);
}

/** Checks an integer that may be text, as in a URL. */
export function checkWhole(
  option: string,
  value: unknown,
  range: { min: number; max?: number },
): void {
  const isNumeric = typeof value === 'string' && /^\d+$/.test(value);
  numberOption(option, isNumeric ? Number(value) : (value ?? undefined), undefined, {
    ...range,
    integer: true,
  });
}

/**
 * Checks a URL of Redis, and removes the options that this package sets from its query. An error
 * shows only the scheme of the URL.
 */
function redisUrl(option: string, text: unknown, fixed: object): string {
  if (typeof text !== 'string') throw wrongSecretType(option, text, acceptedUrl);
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(text))
    throw rangeError(
      `${option} is ${text === '' ? 'an empty string' : 'a string without a scheme'}; it must ` +
        `be ${acceptedUrl}. ` +
        'Write redis:// before a host and port, or rediss:// if this Redis uses TLS',
    );
  const url = parsed(text);
  if (!url)
    throw wrongSecret(
      option,
      `${acceptedUrl}; encode special characters of the password with encodeURIComponent()`,
      RangeError,
    );
  if (url.protocol !== 'redis:' && url.protocol !== 'rediss:')
    throw rangeError(
      `${option} is a URL with the scheme ${quote(url.protocol)}; it must be ${acceptedUrl}`,
    );
  if (url.hostname === '')
    throw rangeError(`${option} is a URL without a host; it must be ${acceptedUrl}`);
  checkNames(`the query of ${option}`, [...url.searchParams.keys()]);
  for (const name of Object.keys(fixed)) url.searchParams.delete(name);
  return url.href;
}

function parsed(text: string): URL | undefined {
  try {
    const url = new URL(text);
    // ioredis decodes both. That fails if a percent sign is not encoded.
    decodeURIComponent(url.username + url.password);
    return url;
  } catch {
    return undefined;
  }
}
