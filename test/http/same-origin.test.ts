import { describe, expect, it } from '@jest/globals';
import type { Context } from 'koa';
import { refuseCrossOrigin } from '../../src/http/same-origin.js';

type Row = [method: string, site: string | null, origin: string | null, host: string, verdict: 'allow' | 'refuse', why: string];

const rows: Row[] = [
  ['GET', null, null, 'app.example', 'allow', 'a safe method'],
  ['HEAD', 'cross-site', 'https://evil.example', 'app.example', 'allow', 'a safe method'],
  ['OPTIONS', 'cross-site', 'https://evil.example', 'app.example', 'allow', 'a safe method'],
  ['POST', 'same-origin', null, 'app.example', 'allow', 'the same origin'],
  ['POST', 'same-origin', 'null', 'app.example', 'allow', 'a page without a referrer, over HTTPS'],
  ['POST', 'same-origin', 'https://evil.example', 'app.example', 'allow', 'a proxy that rewrites Host'],
  ['POST', 'none', null, 'app.example', 'allow', 'typed by the person'],
  ['POST', 'same-site', 'https://other.app.example', 'app.example', 'refuse', 'a sibling host'],
  ['POST', 'same-site', 'http://app.example', 'app.example', 'refuse', 'the HTTP twin of an HTTPS page'],
  ['POST', 'cross-site', null, 'app.example', 'refuse', 'another site'],
  ['POST', 'cross-site', 'https://app.example', 'app.example', 'refuse', 'Sec-Fetch-Site decides'],
  ['POST', 'Same-Origin', 'https://app.example', 'app.example', 'refuse', 'the value is case-sensitive'],
  ['POST', 'same-origin, cross-site', 'https://app.example', 'app.example', 'refuse', 'a doubled header'],
  ['POST', 'bogus', null, 'app.example', 'refuse', 'an unknown value'],
  ['POST', null, null, 'app.example', 'allow', 'a script'],
  ['POST', null, 'https://app.example', 'app.example', 'allow', 'an old browser'],
  ['POST', null, 'http://intranet:8080', 'intranet:8080', 'allow', 'plain HTTP'],
  ['POST', null, 'http://intranet:8080', 'intranet', 'refuse', 'another port'],
  ['POST', null, 'https://app.example:443', 'app.example', 'refuse', 'compared as text'],
  ['POST', null, 'https://APP.example', 'app.example', 'refuse', 'compared as text'],
  ['POST', null, 'https://app.example.evil.example', 'app.example', 'refuse', 'a longer name'],
  ['POST', null, 'https://evilapp.example', 'app.example', 'refuse', 'another name'],
  ['POST', null, 'null', 'app.example', 'refuse', 'a sandboxed frame'],
  ['POST', null, 'null', '', 'refuse', 'both without a host'],
  ['POST', null, 'file://', '', 'refuse', 'both without a host'],
  ['POST', null, 'https://a.example, https://app.example', 'app.example', 'refuse', 'a doubled header'],
  ['POST', null, 'https://app.example/', 'app.example', 'refuse', 'no origin'],
  ['DELETE', 'cross-site', 'https://evil.example', 'app.example', 'refuse', 'another site'],
  ['DELETE', null, null, 'app.example', 'allow', 'a script'],
  ['post', 'cross-site', null, 'app.example', 'refuse', 'methods are case-sensitive'],
  ['QUERY', 'cross-site', null, 'app.example', 'refuse', 'not known to be safe'],
  ['POST', 'cross-site', 'https://trusted.example', 'app.example', 'allow', 'a trusted origin'],
  ['POST', null, 'https://trusted.example', 'app.example', 'allow', 'a trusted origin'],
];

describe('refuseCrossOrigin', () => {
  it.each(rows)('decides %s with Sec-Fetch-Site %s and Origin %s at %j: %s (%s)', (method, site, origin, host, verdict) => {
    const headers = { ...(site !== null && { 'sec-fetch-site': site }), ...(origin !== null && { origin }) };
    const ctx = { method, host, req: { headers } } as unknown as Context;
    const check = (): void => refuseCrossOrigin(ctx, ['https://trusted.example']);
    if (verdict === 'allow') expect(check).not.toThrow();
    else expect(check).toThrow(expect.objectContaining({ code: 'CROSS_ORIGIN', status: 403 }));
  });
});
