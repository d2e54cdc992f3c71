import { afterEach, describe, expect, it } from '@jest/globals';
import Koa from 'koa';
import { clientAddress, networkOf } from '../../src/http/client-address.js';
import { ask } from '../helpers/client.js';
import { type Served, serve } from '../helpers/serve.js';

let served: Served | undefined;
afterEach(() => served?.close());

async function addressOf(
  options: { proxy?: boolean; maxIpsCount?: number },
  forwarded?: string,
): Promise<string> {
  const app = new Koa(options);
  app.use((ctx) => {
    ctx.body = clientAddress(ctx);
  });
  served = await serve(app);
  return (
    await ask(served.url, {
      headers: forwarded === undefined ? {} : { 'X-Forwarded-For': forwarded },
    })
  ).text;
}

describe('clientAddress', () => {
  it.each([
    ['the socket, whatever the header says, without app.proxy', {}, '6.6.6.6', '127.0.0.1'],
    ['the socket, with app.proxy and no header', { proxy: true }, undefined, '127.0.0.1'],
    [
      'the last entry, if the number of proxies is unknown',
      { proxy: true },
      '6.6.6.6, 203.0.113.7',
      '203.0.113.7',
    ],
    [
      'the entry of the only proxy',
      { proxy: true, maxIpsCount: 1 },
      '6.6.6.6, 203.0.113.7',
      '203.0.113.7',
    ],
    [
      'the entry before the second proxy',
      { proxy: true, maxIpsCount: 2 },
      '6.6.6.6, 203.0.113.7, 10.0.0.2',
      '203.0.113.7',
    ],
    ['the address without its port', { proxy: true }, '203.0.113.7:4711', '203.0.113.7'],
    ['IPv6 without brackets and port', { proxy: true }, '[2001:db8::7]:4711', '2001:db8::7'],
    [
      'an IPv4 address that is mapped into IPv6',
      { proxy: true },
      '::ffff:203.0.113.7',
      '203.0.113.7',
    ],
    ['the socket, if the header contains no address', { proxy: true }, 'unknown', '127.0.0.1'],
    ['the socket, if the header is hostile', { proxy: true }, '"><script>', '127.0.0.1'],
  ])('is %s', async (_case, options, forwarded, expected) => {
    expect(await addressOf(options, forwarded)).toBe(expected);
  });
});

describe('networkOf', () => {
  it.each([
    ['203.0.113.7', '203.0.113.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2:ffff::1', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002::', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['::ffff:203.0.113.7', '203.0.113.7'],
    ['::ffff:cb00:7107', '203.0.113.7'],
    ['0:0:0:0:0:FFFF:CB00:7107', '203.0.113.7'],
    ['64:ff9b::203.0.113.7', '203.0.113.7'],
    ['0064:ff9b:0:0::cb00:7107', '203.0.113.7'],
    ['64:ff9b:1::cb00:7107', '64:ff9b:1:0::/64'],
    ['2001:db8:1:2::203.0.113.7', '2001:db8:1:2::/64'],
    ['::', '0:0:0:0::/64'],
  ])('counts %s as %s', (address, network) => {
    expect(networkOf(address)).toBe(network);
  });
});
