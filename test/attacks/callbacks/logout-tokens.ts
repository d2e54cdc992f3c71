import { createHmac, type KeyObject, sign } from 'node:crypto';
import type { Random } from './random.js';

/** What an attacker knows of the provider, and the key that only the provider has. */
export interface Signer {
  issuer: string;
  clientId: string;
  /** The key of the provider. */
  key: KeyObject;
  kid: string;
  /** The key of an attacker. */
  otherKey: KeyObject;
  /** The public key of the provider in the forms that an HMAC could take as its secret. */
  publicForms: readonly string[];
}

const event = 'http://schemas.openid.net/event/backchannel-logout';

type Json = Record<string, unknown>;

const encoded = (text: string): string => Buffer.from(text, 'latin1').toString('base64url');

function nested(depth: number, open: string, close: string): unknown {
  return JSON.parse(open.repeat(depth) + close.repeat(depth));
}

/** Returns values of a wrong type, or of an extreme size. */
const wrongValues: readonly unknown[] = [
  ...[null, true, false, 0, -1, 1e300, 0.5, '', 'x', [], {}, [[]], [null], { length: 1 }],
  ...['__proto__', 'a'.repeat(2000), '\u0000', '\ud800', '💥', Number.MAX_SAFE_INTEGER],
  ...[nested(500, '[', ']'), Array.from({ length: 500 }, () => 'x'), { toString: 'x' }],
];

const deepPayload = `{"a":${'['.repeat(3000)}${']'.repeat(3000)}}`;

/** Makes logout tokens. Few are valid. */
export class LogoutTokens {
  readonly #random: Random;
  readonly #signer: Signer;
  readonly #used: string[] = [];
  #count = 0;

  constructor(random: Random, signer: Signer) {
    this.#random = random;
    this.#signer = signer;
  }

  /** Returns a token, valid or not. */
  next(): string {
    const random = this.#random;
    const how = random.weighted({
      ...{ claims: 40, header: 20, parts: 15, valid: 3, used: 5, idToken: 3, text: 6, payload: 8 },
    });
    switch (how) {
      case 'claims':
        return this.#signed(this.#wrongClaims(), this.#header());
      case 'header':
        return this.#wronglySigned();
      case 'parts':
        return this.#wrongParts();
      case 'used':
        return this.#used.length > 0 ? random.pick(this.#used) : 'none';
      case 'idToken':
        return this.idToken();
      case 'text':
        return random.hostile();
      case 'payload':
        return this.#encoded(this.#header(), this.#payloadText());
      default: {
        const token = this.#signed(this.#claims(), this.#header());
        this.#used.unshift(token);
        this.#used.length = Math.min(this.#used.length, 16);
        return token;
      }
    }
  }

  /** Returns a valid ID token. */
  idToken(): string {
    const { events: _, ...claims } = this.#claims();
    return this.#signed({ ...claims, nonce: 'a nonce' }, { ...this.#header(), typ: undefined });
  }

  #claims(): Json {
    const { issuer: iss, clientId: aud } = this.#signer;
    const iat = Math.floor(Date.now() / 1000);
    this.#count += 1;
    const jti = `logout ${this.#count}`;
    const who = this.#random.chance(0.5) ? { sub: 'ann' } : { sid: 'unknown', sub: 'nobody' };
    return { iss, aud, iat, exp: iat + 120, jti, events: { [event]: {} }, ...who };
  }

  #header(): Json {
    return { alg: 'ES256', kid: this.#signer.kid, typ: 'logout+jwt' };
  }

  #wrongClaims(): Json {
    const random = this.#random;
    const claims = this.#claims();
    const iat = Number(claims.iat);
    const changes: (() => void)[] = [
      () => delete claims[random.pick(Object.keys(claims))],
      () => (claims[random.pick(Object.keys(claims))] = random.pick(wrongValues)),
      () => (claims[random.pick(['nonce', 'nbf', 'sid', 'azp'])] = random.pick(wrongValues)),
      () => (claims.events = random.pick([event, [event], { [event]: random.pick(wrongValues) }])),
      () => (claims.iat = iat + random.pick([-1e6, -400, 400, 1e6])),
      () => (claims.exp = iat - random.pick([61, 400, 1e6])),
      () =>
        (claims.aud = random.pick([['other'], `${this.#signer.clientId}x`, [random.hostile()]])),
      () => (claims.iss = random.damaged(this.#signer.issuer)),
      () => (claims[random.hostile()] = random.pick(wrongValues)),
    ];
    for (let count = 1 + random.below(2); count > 0; count -= 1) random.pick(changes)();
    return claims;
  }

  #wronglySigned(): string {
    const random = this.#random;
    const { otherKey, publicForms, kid } = this.#signer;
    const claims = this.#claims();
    const own = this.#header();
    const headers: (() => string)[] = [
      () => this.#encoded({ alg: random.pick(['none', 'None', 'NONE', '']) }, claims, ''),
      () => {
        const alg = random.pick(['HS256', 'HS384', 'HS512']);
        const input = this.#encoded({ ...own, alg }, claims, '').slice(0, -1);
        const hash = alg.replace('HS', 'sha');
        const mac = createHmac(hash, random.pick(publicForms)).update(input).digest('base64url');
        return `${input}.${mac}`;
      },
      () => this.#signed(claims, { ...own, alg: random.pick(['RS256', 'ES384', 'EdDSA', 'x']) }),
      () =>
        this.#signed(claims, { ...own, typ: random.pick(['JWT', 'at+jwt', 7, random.hostile()]) }),
      () =>
        this.#signed(claims, { ...own, kid: random.pick(['other', 7, null, random.hostile()]) }),
      () => this.#signed(claims, { alg: 'ES256' }, otherKey),
      () => this.#signed(claims, { ...own, jwk: otherKey.export({ format: 'jwk' }) }, otherKey),
      () => this.#signed(claims, { ...own, jku: 'https://evil.example/jwks', kid }, otherKey),
      () => this.#signed(claims, { ...own, x5c: ['AA=='], x5u: 'https://evil.example' }, otherKey),
      () => this.#signed(claims, { ...own, crit: random.pick([['exp'], [], ['b64'], 'x']) }),
      () => this.#signed(claims, { ...own, b64: false, crit: ['b64'] }),
      () => this.#signed(claims, { ...own, [random.hostile()]: random.pick(wrongValues) }),
      () => this.#signed(claims, random.pick(wrongValues)),
    ];
    return random.pick(headers)();
  }

  #wrongParts(): string {
    const random = this.#random;
    const token = this.#signed(this.#claims(), this.#header());
    const [head = '', payload = '', signature = ''] = token.split('.');
    return random.pick([
      ...[`${head}.${payload}`, `${head}.${payload}.`, `${head}..${signature}`, `.${payload}.`],
      ...[`${token}.${payload}`, `${token}.x.y`, `${head}.${head}.${signature}`, '..', '....'],
      ...[`${head}.${payload}.${random.letters(86)}`, `${head}.${payload}.${'A'.repeat(86)}`],
      ...[` ${token}`, `${token}\x00`, `"${token}"`, `Bearer ${token}`, `${token}%00`],
      random.damaged(token),
    ]);
  }

  /** A payload that is no JSON object, or one in another encoding. */
  #payloadText(): string {
    const random = this.#random;
    const claims = JSON.stringify(this.#claims());
    return random.pick([
      ...['', 'null', '[]', '7', '"x"', '{', '{}', '\xff\xfe', `\xef\xbb\xbf${claims}`],
      ...[`[${claims}]`, claims.replace('{', '{"iss":"x",'), claims.replace('ann', '\xff')],
      ...[claims.slice(0, -1), `${claims}${claims}`, deepPayload],
      ...[Buffer.from(claims, 'utf16le').toString('latin1'), claims.replace('"iat"', '"iat "')],
      `{"__proto__":{"iss":"x"},${claims.slice(1)}`,
      random.damaged(claims),
    ]);
  }

  #signed(claims: Json, header: unknown, key = this.#signer.key): string {
    return this.#encoded(header, claims, undefined, key);
  }

  #encoded(header: unknown, payload: Json | string, signature?: string, key?: KeyObject): string {
    const text = typeof payload === 'string' ? payload : JSON.stringify(payload);
    const input = `${encoded(JSON.stringify(header))}.${encoded(text)}`;
    if (signature !== undefined) return `${input}.${signature}`;
    const own = { key: key ?? this.#signer.key, dsaEncoding: 'ieee-p1363' } as const;
    return `${input}.${sign('sha256', Buffer.from(input), own).toString('base64url')}`;
  }
}
