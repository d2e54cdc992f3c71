import type * as openid from 'openid-client';
import type { OidcSettings } from './options.js';
import { loadClient } from './packages.js';
import {
  type ClientAuthMethod,
  clockTolerance,
  differentIssuers,
  type ErrorHints,
  ProviderError,
  providerError,
} from './provider-errors.js';
import { type ProviderFetch, providerFetch } from './provider-fetch.js';

/** The provider, as its discovery document describes it. */
export interface Provider {
  readonly client: typeof openid;
  readonly config: openid.Configuration;
  readonly metadata: openid.ServerMetadata;
  /** The text of the issuer in the metadata. */
  readonly issuer: string;
  readonly fetch: ProviderFetch;
  /** How the app authenticates; `undefined` without a secret. */
  readonly auth: ClientAuthMethod | undefined;
  /** Runs calls of openid-client, and replaces their errors by ones without secrets. */
  ask<T>(call: () => Promise<T>): Promise<T>;
}

/** Milliseconds for which the metadata of the provider are used. */
const metadataLifetime = 3_600_000;
/** Milliseconds after a failure in which the provider is not asked again. */
const retryAfter = 5000;

/**
 * The connection to a provider. It reads the metadata of the provider when they are needed for the
 * first time. So an app starts while its provider is down, and needs no restart afterwards.
 */
export class ProviderConnection {
  readonly #settings: OidcSettings;
  readonly #now: () => number;
  readonly #fetch: ProviderFetch;
  #found: { provider: Provider; at: number } | undefined;
  #failed: { error: unknown; at: number } | undefined;
  #finding: Promise<Provider> | undefined;

  constructor(settings: OidcSettings, now: () => number) {
    this.#settings = settings;
    this.#now = now;
    this.#fetch = providerFetch(settings.ca);
  }

  /**
   * Resolves to the provider.
   *
   * @throws ProviderError if it cannot be reached or its metadata are wrong.
   */
  async get(): Promise<Provider> {
    if (this.#found && this.#isWithin(this.#found.at, metadataLifetime))
      return this.#found.provider;
    return this.find();
  }

  /** Reads the metadata, even if they are known. Resolves to the provider, as {@link get} does. */
  async find(): Promise<Provider> {
    if (this.#failed && this.#isWithin(this.#failed.at, retryAfter)) throw this.#failed.error;
    this.#finding ??= this.#discover().finally(() => {
      this.#finding = undefined;
    });
    return this.#finding;
  }

  #isWithin(at: number, milliseconds: number): boolean {
    return Math.abs(this.#now() - at) < milliseconds;
  }

  async #discover(): Promise<Provider> {
    const { issuer } = this.#settings;
    try {
      const provider = await this.#read();
      this.#failed = undefined;
      // With new keys and endpoints, but not more often than needed: the old one has cached keys.
      if (!this.#found || !this.#isWithin(this.#found.at, metadataLifetime))
        this.#found = { provider, at: this.#now() };
      return this.#found.provider;
    } catch (error) {
      this.#failed = { error: providerError(error, { issuer, auth: undefined }), at: this.#now() };
      throw this.#failed.error;
    }
  }

  async #read(): Promise<Provider> {
    const { issuer, clientId, timeout } = this.#settings;
    const client = await loadClient();
    const url = new URL(issuer);
    const metadata = { [client.clockTolerance]: clockTolerance };
    const config = await client
      .discovery(url, clientId, metadata, this.#clientAuth(client), {
        timeout,
        execute: [
          // Without this, the signature of an ID token from the token endpoint is not checked.
          client.enableNonRepudiationChecks,
          ...(url.protocol === 'http:' ? [client.allowInsecureRequests] : []),
        ],
        [client.customFetch]: this.#fetch,
      })
      .catch((error: unknown) => {
        throw wrongIssuer(error, issuer) ?? error;
      });
    const server = config.serverMetadata();
    if (!sameIssuer(server.issuer, issuer)) throw differentIssuers(server.issuer, issuer);
    const hints: ErrorHints = { issuer: server.issuer, auth: this.#methodOf(server) };
    return {
      auth: hints.auth,
      ...{ client, config, metadata: server, issuer: server.issuer, fetch: this.#fetch },
      ask: async (call) => {
        await this.#secretReady();
        try {
          return await call();
        } catch (error) {
          throw providerError(error, hints);
        }
      },
    };
  }

  /**
   * Authenticates the app by a single method, with the present secret. Which method depends on the
   * metadata.
   */
  #clientAuth(client: typeof openid): openid.ClientAuth {
    const { clientSecret } = this.#settings;
    if (clientSecret === undefined) return client.None();
    return (server, ...rest) => {
      const { value } = clientSecret;
      if (value === undefined) throw new Error('clientSecret has no value');
      const create =
        this.#methodOf(server) === 'post' ? client.ClientSecretPost : client.ClientSecretBasic;
      create(value)(server, ...rest);
    };
  }

  /** Waits for the first answer of a function as `clientSecret`. */
  async #secretReady(): Promise<void> {
    try {
      await this.#settings.clientSecret?.get();
    } catch (error) {
      throw new ProviderError((error as Error).message);
    }
  }

  #methodOf(server: openid.ServerMetadata): ClientAuthMethod | undefined {
    const { clientSecret, clientAuth } = this.#settings;
    if (clientSecret === undefined) return undefined;
    const accepted = server.token_endpoint_auth_methods_supported;
    return clientAuth ?? (accepted?.includes('client_secret_basic') === false ? 'post' : 'basic');
  }
}

/**
 * Whether the issuer in the metadata is the configured one. Only the issuer of a root may differ by
 * the slash at its end.
 */
function sameIssuer(found: string, configured: string): boolean {
  if (found === configured) return true;
  const isRoot = /^https?:\/\/[^/]+\/?$/;
  return (
    isRoot.test(found) &&
    isRoot.test(configured) &&
    found.replace(/\/$/, '') === configured.replace(/\/$/, '')
  );
}

/** Returns the error for metadata with another issuer, which shows both texts. */
function wrongIssuer(error: unknown, issuer: string): ProviderError | undefined {
  const { code, cause } = error as {
    code?: unknown;
    cause?: { attribute?: unknown; body?: { issuer?: unknown } };
  };
  if (code !== 'OAUTH_JSON_ATTRIBUTE_COMPARISON_FAILED' || cause?.attribute !== 'issuer')
    return undefined;
  return differentIssuers(cause.body?.issuer, issuer);
}
