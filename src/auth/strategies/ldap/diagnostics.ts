import { codeOf, messageOf } from './connection.js';

/** What the codes of Active Directory in an error of a bind mean. */
const activeDirectory: Readonly<Record<string, string>> = {
  '525': 'there is no such account',
  '52e': 'the password is wrong',
  '530': 'the account may not sign in at this time',
  '531': 'the account may not sign in from this host',
  '532': 'the password has expired',
  '533': 'the account is disabled',
  '701': 'the account has expired',
  '773': 'the password must be changed first',
  '775': 'the account is locked',
};

/** What the result codes of a bind mean (RFC 4511, appendix A). */
const resultCodes: Readonly<Record<number, string>> = {
  8: 'the server accepts passwords over an encrypted connection only: use ldaps:// or startTLS',
  13: 'the server accepts passwords over an encrypted connection only: use ldaps:// or startTLS',
  19: 'the account is locked, or its password has expired',
  32: 'there is no such account',
  34: 'the name is not a valid DN',
  48: 'the account has no password, or may not bind with one',
  49: 'the name or the password is wrong',
  50: 'the account may not bind',
  53: 'the server refuses this account, such as because it is inactive',
};

/** Returns the answer of a server to a bind, and what it means. */
export function meaningOf(error: unknown): string {
  const text = messageOf(error);
  const [, data = ''] = /\bdata ([0-9a-f]+)\b/.exec(text) ?? [];
  const meaning = activeDirectory[data] ?? resultCodes[codeOf(error) ?? -1];
  return meaning === undefined ? text : `${meaning} (${text})`;
}
