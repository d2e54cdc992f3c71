import { newToken } from '../../../src/auth/strategies/api-tokens/token-text.js';
import { LogoutTokens, type Signer } from './logout-tokens.js';
import { Random } from './random.js';

/*
 * Makes requests as an attacker would: valid ones of the routes of providers with one or more parts
 * changed, and wrong tokens and headers of a proxy. The seed decides what changes. No request may
 * open a session.
 */

/** An attempt that the app has begun: what the browser keeps, and what the provider gets. */
export interface Begun {
  /** The cookie with its name. */
  cookie: string;
  state: string;
}

/** An attempt whose user has signed in at the provider. */
export interface SignedIn extends Begun {
  code: string;
}

/** What the requests are made of. */
export interface Target {
  signer: Signer;
  /** Recent attempts. The sender adds those that the app begins. */
  readonly begun: Begun[];
  readonly signedIn: readonly SignedIn[];
  apiToken: string;
  proxySecret: string;
}

/** What a request is about. */
type Kind = 'callback' | 'start' | 'ended' | 'bearer' | 'proxy';

/** A request as bytes, one character each. */
export interface HostileRequest {
  kind: Kind;
  text: string;
  /** Whether the proxy may have sent it, so that it may name any user. */
  isOfProxy: boolean;
}

/** A text of states, codes and tokens that no log line may contain. */
export const marker = 'Sentinel-of-an-attacker';

interface Parts {
  method: string;
  path: string;
  /** Parameters, cookies and headers with their names. */
  query: string[];
  cookies: string[];
  headers: string[];
  /** A body with its type. */
  body?: readonly [type: string, text: string];
}

const manyFields = 'a=b&'.repeat(2000);
const tooLarge = 'a'.repeat(20 * 1024);
const deepArray = '['.repeat(5000);
const form = 'application/x-www-form-urlencoded';

/** Makes requests. */
export class HostileRequests {
  readonly #random: Random;
  readonly #target: Target;
  readonly #tokens: LogoutTokens;

  constructor(seed: number, target: Target) {
    this.#random = new Random(seed);
    this.#target = target;
    this.#tokens = new LogoutTokens(this.#random, target.signer);
  }

  next(): HostileRequest {
    const random = this.#random;
    const kind = random.weighted({ callback: 40, start: 12, ended: 28, bearer: 12, proxy: 8 });
    const isOfProxy = kind === 'proxy' && random.chance(0.5);
    const parts = {
      callback: () => this.#callback(),
      start: () => this.#start(),
      ended: () => this.#ended(),
      bearer: () => this.#bearer(),
      proxy: () => this.#proxy(isOfProxy),
    }[kind]();
    if (random.chance(0.3)) parts.headers.push(this.#header());
    return { kind, isOfProxy, text: this.#textOf(parts) };
  }

  #get(path: string, more: Partial<Parts> = {}): Parts {
    const method = this.#random.chance(0.97) ? 'GET' : this.#random.pick(['HEAD', 'POST', 'PUT']);
    return { method, path, query: [], cookies: [], headers: [], ...more };
  }

  /** Returns the path of a route of providers. */
  #route(route: 'callback' | 'start' | 'ended'): string {
    const random = this.#random;
    // The limits of the second login are on. The first one has none, so that requests get further.
    const login = random.chance(0.04) ? '/limited' : '/tasks';
    const others = ['other', 'staff', 'tokens', '%6fkta', 'OKTA', 'okta%00', random.hostile()];
    return `${login}/auth/${route}/${random.chance(0.9) ? 'okta' : random.pick(others)}`;
  }

  #callback(): Parts {
    const random = this.#random;
    const { signer, begun, signedIn } = this.#target;
    const own = random.pick(begun);
    const full = random.pick(signedIn);
    const query = (state: string, code = `${marker}-${random.letters(20)}`): string[] => [
      ...[`state=${state}`, `code=${code}`, `iss=${signer.issuer}`],
    ];
    const path = this.#route('callback');
    const changed = (parameters: string[], cookies: string[]): Parts =>
      this.#get(path, { query: this.#maybe(parameters), cookies });
    const how = random.weighted({
      ...{ noAttempt: 25, otherCookie: 15, damaged: 25, refused: 15, wrongCode: 2, stolen: 6 },
      ...{ spoiled: 2 },
    });
    switch (how) {
      case 'noAttempt':
        return changed(query(random.pick([own.state, marker, random.hostile()])), []);
      case 'otherCookie': {
        const [name] = own.cookie.split('=');
        const { cookie } = random.pick(begun);
        const swapped = `${name}=${cookie.split('=')[1]}`;
        return changed(query(own.state), cookie === own.cookie ? [] : [swapped, cookie]);
      }
      case 'damaged':
        return changed(query(own.state), this.#cookies(own.cookie));
      case 'refused': {
        const wrong = random.pick<() => string[]>([
          () => [`error=${random.pick(['access_denied', marker, random.hostile()])}`],
          () => ['error=x', `error_description=${marker}`, `error_uri=${random.hostile()}`],
          () => [`id_token=${this.#tokens.idToken()}`],
          () => [`response=${this.#tokens.next()}`],
          () => [`state=${own.state}`],
        ]);
        return changed([...query(own.state), ...wrong()], [own.cookie]);
      }
      case 'wrongCode':
        return changed(query(own.state), [own.cookie]);
      case 'stolen': {
        // The code of another user. With a valid attempt, the provider is asked, so that is rare.
        const state = random.chance(0.1) ? own.state : full.state;
        return this.#get(path, { query: query(state, full.code), cookies: [own.cookie] });
      }
      default: {
        const [state = '', code = '', iss = ''] = query(full.state, full.code);
        const wrong = random.pick([
          [state, code, `iss=${random.damaged(`${signer.issuer}x`)}`],
          [state, code, iss, code],
        ]);
        return this.#get(path, { query: wrong, cookies: [full.cookie] });
      }
    }
  }

  #start(): Parts {
    const random = this.#random;
    const nexts = ['/reports', '//evil.example', 'https://evil.example', '/\\evil', '/%0d%0ax'];
    const query = [`next=${random.pick([...nexts, random.hostile(), '/a'.repeat(600)])}`];
    const { cookie } = random.pick(this.#target.begun);
    const cookies = random.chance(0.5) ? [] : this.#cookies(cookie);
    return this.#get(this.#route('start'), { query: this.#maybe(query), cookies });
  }

  /** Returns cookies of attempts, of which most are not valid. */
  #cookies(cookie: string): string[] {
    const random = this.#random;
    const [name = '', value = ''] = cookie.split('=');
    const cut = cookie.slice(0, name.length + 1 + random.below(value.length));
    return random.pick<() => string[]>([
      () => [cut],
      () => [`${name}=${random.damaged(value)}`],
      () => [`${name}=${random.hostile()}`],
      () => [`${name}="${value}"`, cut],
      () => [`${name}=${value.toLowerCase()}`],
      () => [`${name.slice(0, -1)}=${value}`],
      () => [`${name}${random.hostile()}=${value}`],
      () => [`__Host-${cookie}`, `${name}=${marker}`],
      () => this.#target.begun.slice(0, 12).map((each) => random.damaged(each.cookie)),
      () => Array.from({ length: 300 }, () => `${name}=${random.letters(8)}`),
      () => [`${name}=${value.repeat(40)}`],
      () => [`taskflow_token=${random.damaged(value)}`, `taskflow_token_device=${value}`],
    ])();
  }

  #ended(): Parts {
    const random = this.#random;
    const token = this.#tokens.next();
    const field = `logout_token=${token}`;
    const body = random.chance(0.85) ? ([form, field] as const) : this.#wrongBody(token);
    const method = random.chance(0.99) ? 'POST' : random.pick(['PUT', 'DELETE', 'PATCH']);
    const parts = this.#get(this.#route('ended'), { method, body });
    if (random.chance(0.02)) parts.headers.push(`Content-Encoding: ${random.pick(['gzip', 'x'])}`);
    return parts;
  }

  #wrongBody(token: string): readonly [type: string, text: string] {
    const random = this.#random;
    const field = `logout_token=${token}`;
    return random.pick([
      [form, `${field}&${field}`],
      [form, `logout_token[]=${token}`],
      [form, `logout_token[a]=${token}&__proto__[x]=1`],
      [form, `logout_token=%zz&logout_token=${random.hostile()}`],
      [form, `x=${random.hostile()}`],
      [form, random.damaged(field)],
      [form, `${field}&${manyFields}`],
      [form, `logout_token=${tooLarge.slice(random.below(4096))}`],
      [form, ''],
      ['application/json', JSON.stringify({ logout_token: token })],
      ['application/json', deepArray],
      ['multipart/form-data; boundary=x', `--x\r\n\r\n${token}\r\n--x--`],
      [`${form}; charset=utf-16`, field],
      [`${form}; charset="`, field],
      [`${form};;;`, field],
      [random.hostile(), field],
    ]);
  }

  #bearer(): Parts {
    const random = this.#random;
    const { apiToken } = this.#target;
    const damaged = random.damaged(apiToken);
    const value = random.pick<() => string>([
      () => (damaged === apiToken ? `${apiToken}0` : damaged),
      () => newToken('tf_'),
      () => random.pick(['tf_', marker, `tf_${'a'.repeat(9000)}`, `tf_${random.hostile()}`]),
      () => random.pick([`${apiToken},${apiToken}`, `${apiToken} x`, `"${apiToken}"`]),
      () => this.#tokens.idToken(),
      () => this.#tokens.next(),
    ])();
    const headers = random.pick([
      ...[`Authorization: Bearer ${value}`, `authorization: bearer\t ${value}`],
      ...[`Authorization: Bearer${value}`, `Authorization: Basic ${apiToken}`],
      ...[`X-Api-Key: ${apiToken}`, `Proxy-Authorization: Bearer ${apiToken}`],
    ]);
    return random.pick<() => Parts>([
      () => this.#get('/inside', { headers: [headers] }),
      () => this.#get('/inside', { headers: [headers] }),
      () => this.#get('/inside', { cookies: [`taskflow_token=${random.pick([value, apiToken])}`] }),
      () => this.#get('/inside', { query: [`access_token=${apiToken}`] }),
    ])();
  }

  #proxy(isOfProxy: boolean): Parts {
    const random = this.#random;
    const { proxySecret } = this.#target;
    const names = ['ann', '', ' ', 'a,b', 'a\t b', 'ann\xc3', '\xc3\xa4', 'a'.repeat(300)];
    const user = random.pick([
      [`Remote-User: ${random.pick([...names, random.hostile()])}`],
      ['Remote-User: ann', 'Remote-User: eve'],
      ['Remote-User: ann', 'Remote_User: eve'],
      ['Remote_User: ann'],
      ['remote-user: ann', `Remote-Groups: ${random.pick(['sre', ',,', random.hostile()])}`],
    ]);
    const damaged = random.damaged(proxySecret);
    const right = `X-Proxy-Secret: ${proxySecret}`;
    const wrong = `X-Proxy-Secret: ${damaged === proxySecret ? 'wrong' : damaged}`;
    const secret = isOfProxy
      ? [right]
      : random.pick([
          ...[[], [wrong], [right, wrong], [right, 'X-Proxy_Secret: x']],
          [`X_Proxy_Secret: ${proxySecret}`],
        ]);
    return this.#get('/inside', { headers: [...user, ...secret] });
  }

  /** Returns a header that may change how a request is understood. */
  #header(): string {
    const random = this.#random;
    const any = random.hostile();
    return random.pick([
      `Accept: ${random.pick(['application/json', '*/*', 'text/html;q=0', any])}`,
      `Sec-Fetch-Site: ${random.pick(['cross-site', 'same-origin', 'none', any])}`,
      `Origin: ${random.pick(['null', 'https://evil.example', 'http://app.example', any])}`,
      `X-Forwarded-Proto: ${random.pick(['https', any])}`,
      `X-Forwarded-For: ${random.pick(['10.0.0.1', any])}`,
      ...[`X-Forwarded-Host: ${any}`, `X-Request-Id: ${any}`, `User-Agent: ${any}`],
      ...['Remote-User: ann', `Authorization: Bearer ${any}`, `Cookie: ${any}`],
    ]);
  }

  /** Returns the parameters of a query, of which every other list is changed. */
  #maybe(query: string[]): string[] {
    const random = this.#random;
    if (random.chance(0.5)) return query;
    const at = random.below(query.length);
    const parameter = query[at] ?? '';
    const [name = '', value = ''] = parameter.split('=');
    const any = random.hostile();
    const few = random.pick([`${name}[]=${value}`, `${name}[x]=${value}`, `${name}[__proto__]=x`]);
    return random.pick<() => string[]>([
      () => query.toSpliced(at, 1),
      () => [...query, parameter],
      () => [`${name}=${any}`, ...query],
      () => [...query, `${any}=${random.hostile()}`],
      () => query.with(at, few),
      () => query.with(at, `${name.toUpperCase()}=${value}`),
      () => query.with(at, `${name}=${any}`),
      () => query.with(at, random.damaged(parameter)),
      () => query.with(at, parameter.slice(0, random.below(20))),
      () => query.with(at, `${any}=${value}`),
      () => [...query, ...Array.from({ length: 500 }, () => 'a=b')],
    ])();
  }

  #textOf({ method, path, query, headers, cookies, body }: Parts): string {
    const target = path + (query.length === 0 ? '' : `?${query.join('&')}`);
    const length = body?.[1].length ?? 0;
    const lines = [
      `Host: ${this.#random.chance(0.98) ? 'app.example' : this.#random.hostile()}`,
      ...(cookies.length === 0 ? [] : [`Cookie: ${cookies.join('; ')}`]),
      ...(body ? [`Content-Type: ${body[0]}`] : []),
      ...(body || method !== 'GET' ? [`Content-Length: ${length}`] : []),
      ...headers,
    ];
    // A line break or a blank in a wrong place would make another request of it.
    const head = lines.map((line) => `${line.replaceAll(/[\0\r\n]/g, '')}\r\n`).join('');
    const url = target.replaceAll(/[\0-\x20\x7f]/g, encodeURIComponent);
    return `${method} ${url} HTTP/1.1\r\n${head}\r\n${body?.[1] ?? ''}`;
  }
}
