import { describe, expect, it } from '@jest/globals';
import type { DashboardFacts } from '../../../src/client/client.js';
import { offeredPages, pageNames, pages } from '../../../src/ui/state/pages.js';

const offered = (facts: Partial<DashboardFacts>) => offeredPages(facts as DashboardFacts);

describe('the table of pages', () => {
  it('gives each page its own label and shortcut', () => {
    expect(new Set(pageNames.map((name) => pages[name].label)).size).toBe(pageNames.length);
    expect(new Set(pageNames.map((name) => pages[name].key)).size).toBe(pageNames.length);
  });

  it('offers the audit page if there is an audit or a login', () => {
    expect(offered({ audited: false, loginUrl: null })).toEqual(
      pageNames.filter((name) => name !== 'audit'),
    );
    expect(offered({ audited: true, loginUrl: null })).toEqual(pageNames);
    expect(offered({ audited: false, loginUrl: '/login' })).toEqual(pageNames);
  });
});
