import { createHmac, hkdfSync } from 'node:crypto';

/**
 * The uses for which keys are derived. The secret keys themselves sign tokens and have no other use
 * (RFC 8725 section 3.12).
 */
export type KeyUse =
  | 'username hash'
  | 'device cookie'
  | 'session version'
  | 'throttle'
  | 'store owner'
  | 'strategy data'
  | 'attempt';

/** Derives a separate key for each use from each secret key, newest first. */
export function deriveKeys(secretKeys: readonly string[], use: KeyUse): readonly Buffer[] {
  return secretKeys.map((secret) =>
    Buffer.from(hkdfSync('sha256', secret, '', `koa-taskflow ${use}`, 32)),
  );
}

/** Returns the HMAC-SHA256 of a list of values. Two different lists never have the same input. */
export function macOf(key: Buffer | undefined, ...parts: readonly unknown[]): string {
  return createHmac('sha256', key ?? '')
    .update(JSON.stringify(parts))
    .digest('base64url');
}
