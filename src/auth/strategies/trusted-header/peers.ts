import { BlockList, isIP, type Socket } from 'node:net';
import { typeError, wrongType } from '../../../options.js';
import { quote } from '../../../show-value.js';

const accepted =
  "a list of the addresses of the proxies, such as ['10.0.0.7', '10.1.0.0/24', 'fd00::/64'], " +
  "or 'unix' for a Unix socket";

/** The shortest prefixes that are not logged as wide. */
const narrow = { ipv4: 16, ipv6: 48 };

/** A range of addresses. */
interface Range {
  address: string;
  family: 'ipv4' | 'ipv6';
  prefix: number;
  /** The interface of a link-local IPv6 address; empty for any. */
  zone: string;
}

/** The peers whose header counts. */
export interface Peers {
  /** Whether the other end of the connection is a proxy of the list. */
  has(socket: Socket): boolean;
  /** The configured addresses and ranges, as they were written. */
  readonly texts: readonly string[];
  /** The configured ranges that contain more than a /16 of IPv4 or a /48 of IPv6. */
  readonly wide: readonly string[];
}

/**
 * Reads the option `proxies`.
 *
 * @throws TypeError if it is not a list of addresses, or if the list is empty.
 */
export function peersOption(option: string, value: unknown): Peers {
  if (!Array.isArray(value) || value.length === 0) throw wrongType(option, value, accepted);
  const items: readonly unknown[] = value;
  const ranges = items.flatMap((item, index): Range[] => {
    if (item === 'unix') return [];
    const range = typeof item === 'string' ? rangeOf(item) : undefined;
    if (!range)
      throw typeError(`${option}[${index}] is ${quote(item)}; the option must be ${accepted}`);
    return [range];
  });
  // One list for each family, because a list finds IPv4 addresses in ranges such as ::/64.
  const lists = new Map<string, BlockList>();
  for (const { address, family, prefix, zone } of ranges) {
    const list = lists.get(family + zone) ?? new BlockList();
    list.addSubnet(address, prefix, family);
    lists.set(family + zone, list);
  }
  const takesUnix = items.includes('unix');
  return {
    has: (socket) =>
      socket.remoteAddress === undefined
        ? takesUnix && isUnixSocket(socket)
        : isListed(lists, socket.remoteAddress),
    texts: items.map(String),
    wide: ranges
      .filter(({ family, prefix }) => prefix < narrow[family])
      .map(({ address, prefix }) => `${address}/${prefix}`),
  };
}

/** Returns the range of an address or a CIDR text, or `undefined` for any other text. */
function rangeOf(text: string): Range | undefined {
  const [, given = '', digits] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const [address = '', zone = ''] = given.split('%', 2);
  const version = isIP(address);
  if (version === 0 || (zone !== '') !== given.includes('%')) return undefined;
  const bits = version === 4 ? 32 : 128;
  const prefix = digits === undefined ? bits : Number(digits);
  if (prefix > bits) return undefined;
  // A mapped address is an IPv4 address, by which the peers are compared.
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined && prefix >= 96)
    return { address: mapped, family: 'ipv4', prefix: prefix - 96, zone };
  return { address, family: version === 4 ? 'ipv4' : 'ipv6', prefix, zone };
}

function isListed(lists: ReadonlyMap<string, BlockList>, peer: string): boolean {
  const [address = '', zone = ''] = peer.replace(/^::ffff:(?=\d+\.)/i, '').split('%', 2);
  const family = isIP(address) === 4 ? 'ipv4' : 'ipv6';
  return [...new Set(['', zone])].some(
    (each) => lists.get(family + each)?.check(address, family) === true,
  );
}

/**
 * Whether a connection without a remote address is one of a Unix socket. A TCP connection that the
 * client has reset has no remote address either, but it has a local one until it is destroyed.
 */
function isUnixSocket({ destroyed, localAddress }: Socket): boolean {
  return !destroyed && localAddress === undefined;
}
