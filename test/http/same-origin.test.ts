import { describe, expect, it } from '@jest/globals';
import type { Context } from 'koa';
import { refuseCrossOrigin } from '../../src/http/same-origin.js';
import { origins } from '../attacks/corpus.js';

const rows: typeof origins = [
  ...origins,
  ['POST', 'cross-site', 'https://trusted.example', 'app.example', 'allow', 'a trusted origin'],
  ['POST', null, 'https://trusted.example', 'app.example', 'allow', 'a trusted origin'],
];

describe('refuseCrossOrigin', () => {
  it.each(rows)(
    'gives %s with Sec-Fetch-Site %s and Origin %s at %j the verdict %s (%s)',
    (method, site, origin, host, verdict) => {
      const headers = {
        ...(site !== null && { 'sec-fetch-site': site }),
        ...(origin !== null && { origin }),
      };
      const ctx = { method, host, req: { headers } } as unknown as Context;
      const check = (): void => refuseCrossOrigin(ctx, ['https://trusted.example']);
      if (verdict === 'allow') expect(check).not.toThrow();
      else expect(check).toThrow(expect.objectContaining({ code: 'CROSS_ORIGIN', status: 403 }));
    },
  );
});
