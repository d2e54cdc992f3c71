import { describe, expect, it } from '@jest/globals';
import { errorFields, redacted } from '../../src/http/error-fields.js';

const secret = 'the/secret"of+the tests';

describe('the fields of an error in the log', () => {
  it.each([500, 4000])('contain no part of a secret at character %d', (end) => {
    // Each secret before it makes the text shorter, and moves the text behind a cut into view.
    const start = `${secret} `.repeat(9);
    for (let part = 1; part < secret.length; part += 1) {
      const message = `${start.padEnd(end - part, '-')}${secret}`;
      const { message: shown } = errorFields(new Error(message), [secret]) as { message: string };
      expect(shown.length).toBeLessThanOrEqual(500);
      expect(shown.replaceAll(/\[redacted\]|[- ]/g, '')).toMatch(/^(\[\w*)?$/);
    }
  });
});

describe('a text without secrets', () => {
  it('contains none of them in the forms of a URL, JSON and Base64', () => {
    const forms = [encodeURIComponent(secret), JSON.stringify(secret), btoa(secret), secret];
    expect(redacted(forms.join(' '), ['', secret])).toBe(
      '[redacted] "[redacted]" [redacted] [redacted]',
    );
  });

  it('contains no rest of a secret that contains another one', () => {
    const key = 'key-of-the-tests';
    for (const secrets of [
      ['key', key],
      [key, 'key'],
    ])
      expect(redacted(`no bind with ${key}`, secrets)).toBe('no bind with [redacted]');
  });

  it('is whole', () => {
    const text = '-'.repeat(10_000);
    expect(redacted(text, [secret])).toBe(text);
  });
});
