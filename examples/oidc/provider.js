// An OpenID Connect provider for the example. README.md says how to start it. It accepts any
// password, so it is not for production.
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const port = Number(process.env.PROVIDER_PORT ?? 3001);
const login = `http://127.0.0.1:${process.env.PORT ?? 3000}/tasks/auth`;

/**
 * The groups of each user.
 *
 * @type {Record<string, string[]>}
 */
const groups = { ann: ['sre'], bob: ['support'] };

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: 'example',
      client_secret: 'example-secret',
      grant_types: ['authorization_code', 'refresh_token'],
      redirect_uris: [`${login}/callback/sso`],
      post_logout_redirect_uris: [`${login}/signed-out`],
      backchannel_logout_uri: `${login}/ended/sso`,
      backchannel_logout_session_required: true,
    },
  ],
  scopes: ['openid', 'profile', 'email', 'groups', 'offline_access'],
  claims: {
    openid: ['sub'],
    profile: ['preferred_username'],
    email: ['email', 'email_verified'],
    groups: ['groups'],
  },
  features: { backchannelLogout: { enabled: true } },
  issueRefreshToken: () => true,
  // Without this, the provider sends no message to this host, where the app is.
  /** @type {(url: string, options: { dispatcher?: unknown }) => Promise<Response>} */
  fetch: (url, { dispatcher: _, ...options }) => fetch(url, options),
  /**
   * @param {unknown} _ctx
   * @param {string} id
   */
  findAccount: (_ctx, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      preferred_username: id,
      email: `${id}@example.com`,
      email_verified: true,
      groups: groups[id] ?? [],
    }),
  }),
});

const server = createServer(provider.callback());
server.headersTimeout = 15_000;
server.requestTimeout = 30_000;
// The provider keeps everything in memory, so there is nothing to close first.
process.once('SIGTERM', () => process.exit(0)).once('SIGINT', () => process.exit(0));
server.listen(port, '127.0.0.1', () => {
  console.log(`Provider  http://127.0.0.1:${port}`);
  console.log('Users     ann (operator), bob (viewer), any other name (no access)');
});
