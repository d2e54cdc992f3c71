import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { text } from 'node:stream/consumers';
import { importJWK, type JWK, SignJWT } from 'jose';
import Provider, { errors } from 'oidc-provider';
import {
  type ProviderFetch,
  providerFetch,
} from '../../src/auth/strategies/oidc/provider-fetch.js';
import { watchSecret } from './canaries.js';
import { freePort } from './free-port.js';
import { oidcAdapter } from './oidc-adapter.js';

/** A user of the provider: the claims by name. */
export type Account = Record<string, unknown>;

/** The app at the provider. */
export const client = { id: 'taskflow', secret: `client-${randomBytes(24).toString('hex')}` };
watchSecret(client.secret);

/** Changes a JSON answer of the provider. */
type Change = (answer: Record<string, unknown>) => unknown;

/** The header of a request that gets the real answer of the provider. */
const direct = 'x-direct';

interface ProviderOptions {
  redirectUri: string;
  /** Serves HTTPS with this key and certificate, as PEM. Default: HTTP. */
  tls?: { key: string; cert: string };
  /** More metadata of the client. */
  clientMetadata?: object;
  /** More configuration of oidc-provider. */
  configuration?: object;
}

/**
 * A real OpenID Connect provider on a port of the loopback interface. Its accounts, keys and
 * answers can change while it runs. It asks for a user name only.
 */
export class TestProvider {
  readonly port: number;
  readonly accounts = new Map<string, Account>();
  /** Requests by path, since the start. */
  readonly requests: string[] = [];
  /** How the client authenticated at the token endpoint, the last time first. */
  readonly clientAuth: ('basic' | 'post')[] = [];
  /** Whether the provider gives refresh tokens. */
  givesRefreshTokens = true;
  readonly #options: ProviderOptions;
  readonly #cookieKey = randomUUID();
  readonly #adapter = oidcAdapter();
  readonly #changes = new Map<string, Change>();
  readonly #refusals = new Map<string, { status: number; error: string }>();
  readonly #refusedUsers = new Map<string, { status: number; error: string }>();
  #keys: readonly JWK[] = [newKey()];
  #provider: Provider;
  #server: Server | undefined;

  private constructor(port: number, options: ProviderOptions) {
    this.port = port;
    this.#options = { ...options };
    this.#provider = this.#create();
  }

  /** Starts a provider. */
  static async start(options: ProviderOptions): Promise<TestProvider> {
    const provider = new TestProvider(await freePort(), options);
    await provider.resume();
    return provider;
  }

  get issuer(): string {
    return `${this.#options.tls ? 'https' : 'http'}://127.0.0.1:${this.port}`;
  }

  /** The private key that signs. */
  get key(): JWK {
    const [key = newKey()] = this.#keys;
    return key;
  }

  /** Starts to listen again after {@link close}. */
  async resume(): Promise<void> {
    const { tls } = this.#options;
    const serve = (request: IncomingMessage, response: ServerResponse): void =>
      void this.#serve(request, response);
    this.#server = tls ? createSecureServer(tls, serve) : createServer(serve);
    await once(this.#server.listen(this.port, '127.0.0.1'), 'listening');
  }

  async close(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  }

  /** Changes the metadata of the client. */
  changeClient(metadata: object): void {
    this.#options.clientMetadata = { ...this.#options.clientMetadata, ...metadata };
    this.#provider = this.#create();
  }

  /** Signs with a new key from now on. Keeps the old keys, or removes them. */
  rotateKeys({ keep }: { keep: boolean }): void {
    this.#keys = [newKey(), ...(keep ? this.#keys : [])];
    this.#provider = this.#create();
  }

  /** Changes the JSON answers of a path, such as `/token`, until {@link reset}. */
  change(path: string, change: Change): void {
    this.#changes.set(path, change);
  }

  /** Answers each request to a path with an error, until {@link reset}. */
  refuse(path: string, status: number, error: string): void {
    this.#refusals.set(path, { status, error });
  }

  /** Answers each request about a user with an error, until {@link reset}. */
  refuseUser(login: string, status: number, error: string): void {
    this.#refusedUsers.set(login, { status, error });
  }

  /** Gives the real answers again. */
  reset(): void {
    this.#refusals.clear();
    this.#refusedUsers.clear();
    this.#changes.clear();
  }

  /** Makes a refresh token invalid. */
  revoke(refreshToken: string): void {
    this.#adapter.entries.delete(`RefreshToken:${refreshToken}`);
  }

  /** Signs a token as the provider does. */
  async sign(claims: Record<string, unknown>, header?: { typ?: string }): Promise<string> {
    return this.signer()(claims, header);
  }

  /** Returns a function that signs with the present key, even after a rotation. */
  signer(): (claims: Record<string, unknown>, header?: { typ?: string }) => Promise<string> {
    const { key } = this;
    return async (claims, header = {}) =>
      new SignJWT(claims)
        .setProtectedHeader({ alg: 'ES256', kid: String(key.kid), ...header })
        .sign(await importJWK(key));
  }

  /** Returns the number of requests to a path. */
  count(path: string): number {
    return this.requests.filter((each) => each === path).length;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? '/', this.issuer);
    const refusal = this.#refusals.get(pathname);
    if (refusal) {
      response.writeHead(refusal.status, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ error: refusal.error }));
      return;
    }
    const change = this.#changes.get(pathname);
    if (change && request.headers[direct] === undefined)
      return this.#serveChanged(request, response, change);
    this.requests.push(pathname);
    if (pathname === '/token')
      this.clientAuth.unshift(request.headers.authorization ? 'basic' : 'post');
    if (!pathname.startsWith('/interaction/')) return this.#provider.callback()(request, response);
    if (request.method !== 'POST') {
      response.setHeader('Content-Type', 'text/html');
      response.end(
        '<!doctype html><title>Provider</title><form method="post">' +
          '<input name="login"><button type="submit">Continue</button></form>',
      );
      return;
    }
    const login = new URLSearchParams(await text(request)).get('login') ?? '';
    const result = this.accounts.has(login)
      ? { login: { accountId: login } }
      : { error: 'access_denied', error_description: 'unknown user' };
    await this.#provider.interactionFinished(request, response, result);
  }

  async #serveChanged(
    request: IncomingMessage,
    response: ServerResponse,
    change: Change,
  ): Promise<void> {
    const { method = 'GET', headers } = request;
    const { authorization = '', 'content-type': type = '' } = headers;
    const body = await text(request);
    const real = await fetch(new URL(request.url ?? '/', this.issuer), {
      method,
      headers: { authorization, 'content-type': type, [direct]: 'yes' },
      ...(method === 'POST' && { body }),
    });
    const answer = (await real.json()) as Record<string, unknown>;
    response.writeHead(real.status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(await change(answer)));
  }

  #create(): Provider {
    const { redirectUri, clientMetadata, configuration } = this.#options;
    const provider = new Provider(this.issuer, {
      clients: [
        {
          client_id: client.id,
          client_secret: client.secret,
          redirect_uris: [redirectUri],
          grant_types: ['authorization_code', 'refresh_token'],
          id_token_signed_response_alg: 'ES256',
          ...clientMetadata,
        },
      ],
      adapter: this.#adapter.Adapter,
      jwks: { keys: this.#keys },
      cookies: { keys: [this.#cookieKey] },
      claims: {
        openid: ['sub'],
        profile: ['preferred_username', 'name'],
        email: ['email', 'email_verified'],
        groups: ['groups', 'hasgroups', '_claim_names'],
      },
      scopes: ['openid', 'profile', 'email', 'groups', 'offline_access'],
      conformIdTokenClaims: false,
      features: {
        devInteractions: { enabled: false },
        rpInitiatedLogout: {
          logoutSource(ctx: { body: string }, form: string) {
            ctx.body = form;
          },
        },
        backchannelLogout: { enabled: true },
      },
      // The dispatcher of oidc-provider sends no message to this host.
      fetch: (url: string, { dispatcher: _, ...init }: RequestInit & { dispatcher: unknown }) =>
        fetch(url, init),
      interactions: {
        url: (_ctx: unknown, { uid }: { uid: string }) => `/interaction/${uid}`,
      },
      ttl: {
        ...{ AccessToken: 60, AuthorizationCode: 60, IdToken: 600, RefreshToken: 86_400 },
        ...{ Interaction: 600, Session: 86_400, Grant: 86_400 },
      },
      issueRefreshToken: () => this.givesRefreshTokens,
      rotateRefreshToken: () => true,
      expiresWithSession: () => false,
      findAccount: (_ctx: unknown, id: string) => {
        const refusal = this.#refusedUsers.get(id);
        if (refusal) throw new errors.OIDCProviderError(refusal.status, refusal.error);
        const claims = this.accounts.get(id);
        return claims && { accountId: id, claims: () => ({ sub: id, ...claims }) };
      },
      // Gives every consent, so that the user only signs in.
      async loadExistingGrant(ctx: {
        oidc: { session: { accountId: string }; client: { clientId: string } };
      }) {
        const { session, client: app } = ctx.oidc;
        const grant = new provider.Grant({
          accountId: session.accountId,
          clientId: app.clientId,
        });
        grant.addOIDCScope('openid profile email groups offline_access');
        await grant.save();
        return grant;
      },
      ...configuration,
    });
    return provider;
  }
}

/** Returns a new private key as a JWK. */
function newKey(): JWK {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    ...privateKey.export({ format: 'jwk' }),
    ...{ kid: randomUUID(), use: 'sig', alg: 'ES256' },
  };
}

/** A browser without scripts: it keeps cookies, follows redirects and signs in at the provider. */
export class PlainBrowser {
  readonly #cookies = new Map<string, string>();
  readonly #send: ProviderFetch;

  /** `send` sends the requests. Default: `fetch`. */
  constructor(send: ProviderFetch = providerFetch(undefined)) {
    this.#send = send;
  }

  /**
   * Opens a URL and signs in at the provider as `login` if it asks. Follows redirects up to `stop`,
   * and resolves to that URL.
   */
  async signIn(start: string, { login, stop }: { login: string; stop: string }): Promise<URL> {
    let url = new URL(start);
    for (let redirects = 0; redirects < 20; redirects += 1) {
      if (url.href.startsWith(stop)) return url;
      const isForm = url.pathname.startsWith('/interaction/');
      const response = await this.fetch(
        url,
        isForm ? { method: 'POST', body: new URLSearchParams({ login }) } : {},
      );
      const location = response.headers.get('location');
      if (location === null)
        throw new Error(`${url.pathname} answered ${response.status}: ${await response.text()}`);
      await response.body?.cancel();
      url = new URL(location, url);
    }
    throw new Error('too many redirects');
  }

  /** Sends a request with the cookies, and keeps the new ones. Follows no redirect. */
  async fetch(url: URL | string, { method = 'GET', body }: RequestInit = {}): Promise<Response> {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const headers = { cookie, 'content-type': 'application/x-www-form-urlencoded' };
    const response = await this.#send(String(url), { method, headers, body });
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (value === '' || /expires=Thu, 01 Jan 1970/i.test(line)) this.#cookies.delete(name);
      else this.#cookies.set(name, value);
    }
    return response;
  }
}
