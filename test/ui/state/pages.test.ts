import { describe, expect, it } from '@jest/globals';
import type { DashboardFacts } from '../../../src/client/client.js';
import { offeredPages, pageNames, pages } from '../../../src/ui/state/pages.js';

const offered = (facts: Partial<DashboardFacts>) => offeredPages(facts as DashboardFacts);

describe('the table of pages', () => {
  it('gives each page its own label and shortcut', () => {
    expect(new Set(pageNames.map((name) => pages[name].label)).size).toBe(pageNames.length);
    expect(new Set(pageNames.map((name) => pages[name].key)).size).toBe(pageNames.length);
  });

  const without = (...names: string[]) => pageNames.filter((name) => !names.includes(name));
  const login = { methods: [], issuesTokens: true };

  it('offers the audit page if there is an audit or a login', () => {
    const facts = { login: null };
    expect(offered({ ...facts, audited: false, loginUrl: null })).toEqual(
      without('audit', 'tokens'),
    );
    expect(offered({ ...facts, audited: true, loginUrl: null })).toEqual(without('tokens'));
    expect(offered({ ...facts, audited: false, loginUrl: '/login' })).toEqual(without('tokens'));
  });

  it('offers the page of API tokens to a user with a session if the login issues tokens', () => {
    const facts = { audited: true, loginUrl: '/login' };
    expect(offered({ ...facts, login })).toEqual(pageNames);
    expect(offered({ ...facts, login: { ...login, issuesTokens: false } })).toEqual(
      without('tokens'),
    );
    expect(offered({ ...facts, login, loginUrl: null })).toEqual(without('tokens'));
  });
});
