import { describe, expect, it } from '@jest/globals';
import type { Context } from 'koa';
import { auditedAccess } from '../../src/auth/audit-trail.js';
import type { Access, AuditEvent } from '../../src/http/access.js';
import { memoryStore } from '../../src/store/memory-store.js';

const { signal } = new AbortController();

/**
 * A login of the app with every method of the port except those of the audit. The compiler reports
 * an error here if the port gets a new method.
 */
class OwnLogin implements Required<Omit<Access, 'record' | 'audit'>> {
  readonly #name = 'ada';
  who() {
    return { name: this.#name, roles: ['admin'] };
  }
  loginUrl() {
    return `/login/${this.#name}`;
  }
  logoutUrl() {
    return `/logout/${this.#name}`;
  }
  ended() {
    return this.#name === 'ada' ? signal : AbortSignal.abort();
  }
  usable() {
    return Promise.reject(new Error(this.#name));
  }
  describe(mount: string) {
    return { [mount]: this.#name };
  }
  strategies() {
    return [this.#name];
  }
  login() {
    return { methods: [], issuesTokens: this.#name === 'ada' };
  }
  health() {
    return Promise.reject(new Error(`health of ${this.#name}`));
  }
  cookieName() {
    return `${this.#name}_session`;
  }
}

const retry: AuditEvent = { at: new Date().toISOString(), action: 'retry', outcome: 'done' };

const kept = {
  store: memoryStore(),
  path: '/tasks',
  auditRetentionDays: undefined,
  logger: false,
} as const;

describe('a login of the app without an audit', () => {
  it('keeps each of its methods and their receiver', async () => {
    const access = auditedAccess(new OwnLogin(), kept);
    const ctx = {} as Context;
    const {
      who,
      loginUrl,
      logoutUrl,
      ended,
      usable,
      describe: describeRoutes,
      strategies,
      login,
      cookieName,
      health,
      ...rest
    } = access;
    const { record, audit, ...others } = rest;
    expect([
      who(ctx),
      loginUrl?.(ctx),
      logoutUrl?.(ctx),
      ended?.(ctx),
      describeRoutes?.('/tasks'),
      strategies?.(),
      login?.(),
      cookieName?.(ctx),
    ]).toEqual([
      { name: 'ada', roles: ['admin'] },
      '/login/ada',
      '/logout/ada',
      signal,
      { '/tasks': 'ada' },
      ['ada'],
      { methods: [], issuesTokens: true },
      'ada_session',
    ]);
    await expect(usable?.()).rejects.toThrow('ada');
    await expect(health?.()).rejects.toThrow('health of ada');
    expect([typeof record, typeof audit, others]).toEqual(['function', 'function', {}]);
  });

  it.each([
    { own: 'record', shown: [['retry'], ['retry']] },
    { own: 'audit', shown: [[], ['own']] },
    { own: 'record and audit', shown: [['retry'], ['own']] },
  ])('keeps its $own', async ({ own, shown }) => {
    class WithAudit extends OwnLogin {
      readonly recorded: string[] = [];
    }
    const login = new WithAudit();
    const methods = {
      record(this: WithAudit, { action }: AuditEvent) {
        this.recorded.push(action);
      },
      async audit(this: WithAudit) {
        return { items: [{ ...retry, action: 'own' }], nextCursor: null };
      },
    };
    const { record, audit } = methods;
    Object.assign(login, own.includes('record') && { record }, own.includes('audit') && { audit });
    const access = auditedAccess(login, { ...kept, store: memoryStore() });
    await access.record?.(retry);
    const { items } = (await access.audit?.({})) ?? { items: [] };
    expect([login.recorded, items.map(({ action }) => action)]).toEqual(shown);
  });

  it('gets no methods except those of the audit', () => {
    const access = auditedAccess({ who: () => undefined }, kept);
    expect(Object.keys(access).sort()).toEqual(['audit', 'record', 'who']);
  });
});
