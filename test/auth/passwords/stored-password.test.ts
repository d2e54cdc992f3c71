import { describe, expect, it } from '@jest/globals';
import { hashPassword, storePassword } from '../../../src/auth/passwords/stored-password.js';
import { startProcess } from '../../helpers/process.js';

describe('a configured password', () => {
  it('has the same version after a restart, and another one when it changes', async () => {
    const version = async (name: string, text: string): Promise<string> => storePassword(name, text).version();
    const [one, again, changed, others] = await Promise.all([
      version('alice', 'secret'),
      version('alice', 'secret'),
      version('alice', 'Secret'),
      version('bob', 'secret'),
    ]);
    expect(again).toBe(one);
    expect(changed).not.toBe(one);
    expect(others).not.toBe(one);
  });

  it('is hashed before the others that wait when somebody logs in', async () => {
    const order: string[] = [];
    const users = ['a', 'b', 'c', 'd', 'e'].map((name) => ({ name, stored: storePassword(name, `password of ${name}`) }));
    for (const { name, stored } of users) void Promise.resolve(stored.version()).then(() => order.push(name));
    expect(await users.at(-1)?.stored.matches('password of e')).toBe(true);
    expect(order.slice(0, 4)).toContain('e');
  });

  it('is not in the memory of the process once it is hashed', async () => {
    // The password is made of parts, so that the program's own text does not hold it.
    const program = `
      import { createReadStream, rmSync } from 'node:fs';
      import { writeHeapSnapshot } from 'node:v8';
      import { staticUser, multiUser, createAuth } from 'koa-taskflow/auth';
      const parts = ['Plain', 'Text', 'In', 'The', 'Heap'];
      let auth = createAuth({ strategies: staticUser('admin', parts.join('-')), logger: false });
      let more = multiUser([['bob', parts.join('-')]]);
      await more.authenticate_user('bob', 'x', { signal: new AbortController().signal, ip: '', requestId: '' });
      await new Promise((resolve) => setTimeout(resolve, 1500));
      globalThis.gc(); globalThis.gc();
      const file = writeHeapSnapshot(process.argv[1]);
      let found = 0, rest = '';
      for await (const chunk of createReadStream(file, 'utf8')) {
        const text = rest + chunk;
        found += text.split(parts.join('-')).length - 1;
        rest = text.slice(-30);
      }
      rmSync(file);
      // Joining above makes the text once more while it is searched for, after the snapshot.
      console.log(typeof auth, typeof more, 'found', found);
    `;
    const child = startProcess(process.execPath, [
      '--expose-gc',
      '--input-type=module',
      '-e',
      program,
      `/tmp/koa-taskflow-heap-${process.pid}.heapsnapshot`,
    ]);
    expect([await child.ended, child.lines]).toEqual([0, ['object object found 0']]);
  });
});

describe('hashPassword', () => {
  it('makes a hash that the configuration takes, each time with another salt', async () => {
    const [one, two] = await Promise.all([hashPassword('pässword'), hashPassword('pässword')]);
    expect(one).toMatch(/^\$scrypt\$ln=15,r=8,p=3\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    expect(two).not.toBe(one);
    const stored = storePassword('alice', one);
    expect(stored.weakness).toBeUndefined();
    expect(await stored.matches('pässword')).toBe(true);
    expect(await stored.matches('password')).toBe(false);
  });
});
