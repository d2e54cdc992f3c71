import { afterEach, describe, expect, it, jest } from '@jest/globals';
import type { AuthOptions } from '../../src/auth/auth-options.js';
import { StrategyRegistry } from '../../src/auth/strategies/registry.js';
import { staticUser } from '../../src/auth/strategies/static-user.js';
import { ask, postForm } from '../helpers/client.js';
import { turnableClock } from '../helpers/clock.js';
import { Jar } from '../helpers/jar.js';
import { type LoginApp, serveLogin } from '../helpers/login-app.js';
import { cheapHash, password } from '../helpers/passwords.js';
import { testProvider } from '../helpers/provider.js';

let app: LoginApp;
afterEach(async () => {
  jest.useRealTimers();
  jest.restoreAllMocks();
  await app.close();
});

const withProvider = (): StrategyRegistry =>
  new StrategyRegistry()
    .register('okta', testProvider())
    .register('static', staticUser('admin', cheapHash(password)));
const start = async (options: Partial<AuthOptions> = {}): Promise<void> => {
  app = await serveLogin({ strategies: withProvider(), ...options });
};
const signInAtProvider = async (jar: Jar): Promise<void> => {
  const { headers } = await jar.ask(`${app.base}/auth/start/okta`);
  const state = new URL(headers.get('Location') ?? '').searchParams.get('state');
  await jar.ask(`${app.base}/auth/callback/okta?code=right&state=${state}`);
};
const signOut = (jar: Jar) =>
  jar.ask(`${app.base}/auth/logout`, { method: 'POST', headers: { Accept: 'text/html' } });
/** Whether the link to the provider comes before the form. */
const isProviderFirst = (text: string): boolean =>
  text.indexOf('class="provider"') < text.indexOf('<form');

describe('the login page', () => {
  it('has the form first and then a link to each provider, with the requested page', async () => {
    await start();
    const { text } = await ask(`${app.login}?next=/reports%3Fa%3D1`);
    expect(text).toContain(
      '<a class="provider" href="/tasks/auth/start/okta?next=%2Freports%3Fa%3D1">' +
        'Sign in with Okta</a>',
    );
    expect(isProviderFirst(text)).toBe(false);
    expect(text).not.toContain('<select');
  });

  it('has the provider first if this browser last signed in there', async () => {
    await start();
    const jar = new Jar();
    await signInAtProvider(jar);
    await signOut(jar);
    expect(isProviderFirst((await jar.ask(app.login)).text)).toBe(true);
    await jar.ask(app.login, {
      method: 'POST',
      body: new URLSearchParams({ username: 'admin', password }),
    });
    await signOut(jar);
    expect(isProviderFirst((await jar.ask(app.login)).text)).toBe(false);
  });

  it('has no form without a password strategy, and `?form` says so', async () => {
    await start({ strategies: testProvider() });
    const { text } = await ask(app.login);
    expect(text).not.toContain('<form');
    expect(text).not.toContain('login.js');
    expect(text).toContain('Sign in with Okta');
    expect((await ask(`${app.login}?form`)).text).toContain(
      'You cannot sign in with a password here.',
    );
  });

  it('never lists strategies that identify each request', async () => {
    const strategies = withProvider().register('proxy', {
      authenticate_request: () => undefined,
      ambient: true,
      label: 'Proxy',
    });
    await start({ strategies });
    expect((await ask(app.login)).text).not.toMatch(/proxy/i);
  });

  it('shows the labels of password strategies and selects the one last used', async () => {
    const strategies = new StrategyRegistry()
      .register('static', { ...staticUser('admin', cheapHash(password)), label: 'Emergency' })
      .register('ldap', { authenticate_user: () => false, label: 'Staff <ldap>' });
    await start({ strategies });
    const { text } = await ask(app.login);
    expect(text).toContain('<option value="static">Emergency</option>');
    expect(text).toContain('<option value="ldap">Staff &lt;ldap&gt;</option>');
    const answer = await postForm(app.login, { username: 'a', password: 'b', strategy: 'ldap' });
    expect(answer.text).toContain('<option value="ldap" selected>');
  });

  it('shows the texts of the app', async () => {
    const messages = {
      language: 'de',
      username: 'Benutzername',
      signInWith: 'Mit {method} anmelden',
      wrongCredentials: 'Name oder Passwort falsch <!>',
      tooManyAttempts: 'Noch {seconds} s',
    };
    await start({ messages, passwordHelp: '/help?a=1&b' });
    const { text } = await ask(app.login);
    expect(text).toContain('<html lang="de">');
    expect(text).toContain('Benutzername');
    expect(text).toContain('Mit Okta anmelden');
    expect(text).toContain('<a href="/help?a=1&amp;b">Forgot your password?</a>');
    const wrong = { username: 'admin', password: 'wrong' };
    expect((await postForm(app.login, wrong)).text).toContain(
      'Name oder Passwort falsch &lt;!&gt;',
    );
    for (let n = 0; n < 4; n++) await postForm(app.login, wrong);
    expect((await postForm(app.login, wrong)).text).toMatch(/Noch \d+ s/);
  });

  it.each([
    [{ messages: { usernmae: 'x' } }, /usernmae/],
    [{ messages: { username: 1 } }, /messages\.username/],
    [{ messages: { language: 'de" onload="' } }, /messages\.language/],
    [{ passwordHelp: 'javascript:alert(1)' }, /passwordHelp/],
    [{ autoStart: 'static' }, /autoStart.*okta/],
    [{ autoStart: 'other' }, /autoStart/],
  ])('cannot be made with %j', async (options, message) => {
    await expect(start(options as never)).rejects.toThrow(message);
    await start();
  });
});

describe('autoStart', () => {
  const startAt = async (): Promise<void> => start({ autoStart: 'okta' });

  it('sends an anonymous visitor to the provider, with the requested page', async () => {
    await startAt();
    const answer = await ask(`${app.login}?next=/reports`);
    expect([answer.status, answer.headers.get('Location')]).toEqual([
      302,
      '/tasks/auth/start/okta?next=%2Freports',
    ]);
  });

  it('shows the page for `?form`, for a HEAD, and while an attempt is open', async () => {
    await startAt();
    expect((await ask(`${app.login}?form`)).status).toBe(200);
    expect((await ask(app.login, { method: 'HEAD' })).status).toBe(200);
    const jar = new Jar();
    await jar.ask(`${app.base}/auth/start/okta`);
    expect((await jar.ask(app.login)).status).toBe(200);
  });

  it('shows the page while the provider is down', async () => {
    const clock = turnableClock();
    let isDown = true;
    const check = async (): Promise<void> => {
      if (isDown) throw new Error('the provider is down');
    };
    const strategies = new StrategyRegistry()
      .register('okta', { ...testProvider(), check })
      .register('static', staticUser('admin', cheapHash(password)));
    await start({ strategies, autoStart: 'okta' });
    await app.auth.health();
    expect((await ask(app.login)).status).toBe(200);
    isDown = false;
    clock.pass(61);
    await app.auth.health();
    expect((await ask(app.login)).status).toBe(302);
  });

  it('does not follow a logout of a user with a password', async () => {
    await startAt();
    const jar = new Jar();
    const body = new URLSearchParams({ username: 'admin', password });
    expect((await jar.ask(app.login, { method: 'POST', body })).status).toBe(303);
    const left = (await signOut(jar)).headers.get('Location');
    expect(left).toBe('/tasks/auth/login?form');
    expect((await jar.ask(app.url + left)).status).toBe(200);
  });

  it('does not follow a logout, an ended session, or a refusal', async () => {
    await startAt();
    const jar = new Jar();
    await signInAtProvider(jar);
    await app.auth.signOutEverywhere('okta', 'ann');
    const ended = await jar.ask(app.login);
    expect([ended.status, ended.text.includes('Your session was ended')]).toEqual([200, true]);
    await signInAtProvider(jar);
    expect((await signOut(jar)).headers.get('Location')).toBe('/tasks/auth/signed-out');
    const refused = new Jar();
    const { headers } = await refused.ask(`${app.base}/auth/start/okta`);
    const state = new URL(headers.get('Location') ?? '').searchParams.get('state');
    const answer = await refused.ask(
      `${app.base}/auth/callback/okta?error=access_denied&state=${state}`,
    );
    expect([answer.status, answer.headers.get('Location')]).toEqual([401, null]);
  });
});

describe('the page at the end of a sign-in in another tab', () => {
  it('says so to signed-in users, and leads anonymous requests to the login page', async () => {
    await start({ home: '/home' });
    const page = `${app.base}/auth/done`;
    const anonymous = await ask(page);
    expect([anonymous.status, anonymous.headers.get('location')]).toEqual([
      302,
      '/tasks/auth/login?next=%2Ftasks%2Fauth%2Fdone',
    ]);
    const jar = new Jar();
    await signInAtProvider(jar);
    const { status, text } = await jar.ask(page);
    expect(status).toBe(200);
    expect(text).toContain('<title>You are signed in');
    expect(text).toContain('<p role="status" id="signed-in">You can close this tab.');
    expect(text).toContain('<a href="/home">Continue</a>');
    expect(text).toMatch(/<script type="module" src="[^"]*login-[0-9a-f]+\.js">/);
  });
});
