/** The parts of oidc-provider that the tests use. The package has no types. */
declare module 'oidc-provider' {
  import type { EventEmitter } from 'node:events';
  import type { IncomingMessage, ServerResponse } from 'node:http';

  /** What the provider stores about the consent of a user. */
  interface Grant {
    addOIDCScope(scope: string): void;
    save(): Promise<string>;
  }

  export const errors: {
    readonly OIDCProviderError: new (status: number, error: string) => Error;
  };

  export default class Provider extends EventEmitter {
    constructor(issuer: string, configuration: object);
    readonly Grant: {
      new (properties: { accountId: string; clientId: string }): Grant;
      find(id: string): Promise<Grant | undefined>;
    };
    callback(): (request: IncomingMessage, response: ServerResponse) => void;
    interactionFinished(
      request: IncomingMessage,
      response: ServerResponse,
      result: object,
    ): Promise<void>;
  }
}
