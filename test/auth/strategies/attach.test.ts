import { describe, expect, it } from '@jest/globals';
import type { AuthOptions } from '../../../src/auth/auth-options.js';
import { createAuth } from '../../../src/auth/create-auth.js';
import { StrategyRegistry } from '../../../src/auth/strategies/registry.js';
import type { AuthStrategy, StrategyParts } from '../../../src/auth/strategies/strategy.js';
import { memoryStore } from '../../../src/store/memory-store.js';
import { recordingLogger } from '../../helpers/logs.js';
import { secretKey } from '../../helpers/passwords.js';

const nothing = { authenticate_user: () => false };

/** Creates a login with strategies of these names. Returns the parts that each of them got. */
function attachAll(names: readonly string[], options: Partial<AuthOptions> = {}) {
  const store = memoryStore();
  const parts = new Map<string, StrategyParts>();
  const registry = new StrategyRegistry();
  for (const name of names)
    registry.register(name, { ...nothing, attach: (given) => void parts.set(name, given) });
  createAuth({ strategies: registry, secretKey, store, logger: false, ...options });
  const partsOf = (name: string): StrategyParts => {
    const found = parts.get(name);
    if (!found) throw new Error(`${name} was not attached`);
    return found;
  };
  return { store, partsOf };
}

describe('the parts of a strategy', () => {
  it('name the strategy and the login', () => {
    const { partsOf } = attachAll(['ldap']);
    expect(partsOf('ldap')).toMatchObject({ name: 'ldap', path: '/tasks' });
  });

  it('say how long sessions last, and whether the store outlives the process', () => {
    expect(attachAll(['ldap']).partsOf('ldap')).toMatchObject({
      storeLasts: true,
      tokenExpiry: 86_400,
    });
    const given: StrategyParts[] = [];
    const strategy: AuthStrategy = { ...nothing, attach: (parts) => void given.push(parts) };
    createAuth({ strategies: strategy, secretKey, tokenExpiry: 60, logger: false });
    expect(given).toMatchObject([{ storeLasts: false, tokenExpiry: 60 }]);
  });

  it('contain a logger whose lines name the strategy and the login', () => {
    const { logger, lines } = recordingLogger();
    attachAll(['ldap'], { logger }).partsOf('ldap').logger.warn({ line: 7 }, 'refused');
    const expected = { strategy: 'ldap', mount: '/tasks', line: 7, msg: 'refused' };
    expect(lines.at(-1)).toMatchObject(expected);
  });

  it('contain a store that is separate from those of other strategies', async () => {
    const { store, partsOf } = attachAll(['one', 'two']);
    const [one, two] = [partsOf('one').store, partsOf('two').store];
    await one.set('pin:ann', 1, 60);
    expect(await two.get('pin:ann')).toBeUndefined();
    expect(await one.get('pin:ann')).toBe(1);
    expect(await store.get('auth:/tasks:strategy:one:pin:ann')).toBe(1);
    expect(await one.replace('pin:ann', 1, 2, 60)).toBe(true);
    expect(await one.increment('count', 60)).toBe(1);
    expect((await one.list('pin:', undefined, 10)).map(({ key }) => key)).toEqual(['pin:ann']);
    expect(await one.list('pin:', 'pin:ann', 10)).toEqual([]);
    const stop = new AbortController();
    for await (const entries of one.watch('pin:', stop.signal)) {
      expect(entries).toMatchObject([{ key: 'pin:ann', value: 2 }]);
      break;
    }
    stop.abort();
  });

  it('encrypt texts that no other strategy or login can decrypt', () => {
    const { partsOf } = attachAll(['one', 'two']);
    const encrypted = partsOf('one').encrypt('token');
    expect(partsOf('one').decrypt(encrypted)).toBe('token');
    expect(partsOf('two').decrypt(encrypted)).toBeUndefined();
    const other = attachAll(['one'], { secretKey: `${secretKey}-other` });
    expect(other.partsOf('one').decrypt(encrypted)).toBeUndefined();
    expect(attachAll(['one']).partsOf('one').decrypt(encrypted)).toBe('token');
  });

  it('are given once: a second login with the same strategy throws', () => {
    const strategy: AuthStrategy = { ...nothing, attach: () => {} };
    const options = { strategies: strategy, secretKey, logger: false } as const;
    createAuth(options);
    expect(() => createAuth({ ...options, path: '/other' })).toThrow(
      "strategy 'default' is already used by another login or under another name",
    );
  });
});
