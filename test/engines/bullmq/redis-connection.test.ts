import { describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { forThread } from '../../../src/engines/bullmq/redis-connection.js';

describe('what a thread is told of a connection', () => {
  it('is where the Redis is and how to sign in, whichever way it was given', () => {
    expect(forThread('redis://127.0.0.1:1')).toBe('redis://127.0.0.1:1');
    const options = { host: '127.0.0.1', port: 1, password: 'one', tls: { ca: 'a certificate' } };
    expect(forThread({ ...options, retryStrategy: () => 5 })).toEqual(options);
    const client = new Redis({ ...options, lazyConnect: true });
    expect(forThread(client)).toMatchObject(options);
    client.disconnect();
  });

  it('is nothing where the check of a certificate would be left out', () => {
    expect(forThread({ host: '127.0.0.1', tls: { checkServerIdentity: () => undefined } })).toBeUndefined();
  });
});
