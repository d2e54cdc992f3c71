import type { AddressInfo } from 'node:net';
import { createServer, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { type LdapOptions, ldap } from '../../../src/auth/strategies/ldap/ldap.js';
import { StrategyRegistry } from '../../../src/auth/strategies/registry.js';
import { staticUser } from '../../../src/auth/strategies/static-user.js';
import { type Certificate, makeCa } from '../../helpers/certificates.js';
import { postJson } from '../../helpers/client.js';
import { closeAfterEach } from '../../helpers/closing.js';
import { attempt, entries, searchAt } from '../../helpers/directory.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { serveLogin } from '../../helpers/login-app.js';
import { cheapHash } from '../../helpers/passwords.js';
import { relay } from '../../helpers/relay.js';
import { hasSlapd, Slapd, suffix } from '../../helpers/slapd.js';
import { eventually, sleep, waitFor } from '../../helpers/wait.js';

const describeLdap = hasSlapd ? describe : describe.skip;
const keep = closeAfterEach();
const accepted = { ok: true, username: 'ann', roles: [] };

const folder = temporaryFolder();
let ca: ReturnType<typeof makeCa>;
/** The certificate of slapd is for 127.0.0.1. */
let slapd: Slapd;
beforeAll(async () => {
  if (!hasSlapd) return;
  ca = makeCa(folder.path, 'ca');
  slapd = await Slapd.start({ entries, tls: ca.issue('address', 'IP:127.0.0.1') });
});
afterAll(async () => {
  await slapd?.remove();
  folder.remove();
});

const signIn = (url: string, more: Partial<LdapOptions> = {}, password = 'ann-secret') =>
  ldap(searchAt(url, more)).authenticate_user('ann', password, attempt());

/** Starts a server that accepts connections and calls `use` with each. */
async function tcp(use: Parameters<typeof createServer>[1] = () => {}) {
  const sockets: { destroy(): void }[] = [];
  const server: Server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    use(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return keep({
    url: `ldap://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sockets,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  });
}

describeLdap('an encrypted connection', () => {
  const ways = [
    ['ldaps', () => slapd.tlsUrl, {}],
    ['StartTLS', () => slapd.url, { startTLS: true }],
  ] as const;

  it.each(ways)('is made to a server with the right certificate, with %s', async (_, url, how) => {
    expect(await signIn(url(), { ...how, ca: ca.pem })).toEqual(accepted);
    const both = [makeCa(folder.path, 'other').pem, Buffer.from(ca.pem)];
    expect(await signIn(url(), { ...how, ca: both })).toEqual(accepted);
    const strategy = ldap({
      ...{ ...how, url: url(), ca: ca.pem },
      bindDN: `uid={username},ou=people,${suffix}`,
    });
    expect(await strategy.authenticate_user('ann', 'ann-secret', attempt())).toEqual(accepted);
    await strategy.check?.(attempt().signal);
  });

  it.each(ways)('is refused to a server of an unknown CA, with %s', async (_, url, how) => {
    const refused =
      'its certificate is not signed by a trusted CA; add the certificate of its CA with the ' +
      'option ca (';
    await expect(signIn(url(), how)).rejects.toThrow(refused);
    const { pem } = makeCa(folder.path, 'unknown');
    await expect(signIn(url(), { ...how, ca: pem })).rejects.toThrow(refused);
  });

  it.each([
    ['for another name', 'DNS:localhost,DNS:ldap.example.com', 1, 'is for another name; use'],
    ['that has expired', 'IP:127.0.0.1', -1, 'its certificate has expired; renew it'],
  ])('is refused to a server with a certificate %s', async (_, names, days, said) => {
    const tls: Certificate = ca.issue('wrong', names, days);
    const other = await Slapd.start({ entries: {}, tls });
    try {
      for (const [, , how] of ways) {
        const url = 'startTLS' in how ? other.url : other.tlsUrl;
        await expect(signIn(url, { ...how, ca: ca.pem })).rejects.toThrow(said);
        const unchecked = signIn(url, { ...how, insecure: true });
        await expect(unchecked).rejects.toThrow('search.bindDN or search.password is wrong');
      }
    } finally {
      await other.remove();
    }
  });

  it('is refused by a server without StartTLS', async () => {
    const plain = await Slapd.start();
    await expect(signIn(plain.url, { startTLS: true, ca: ca.pem })).rejects.toThrow(
      'the server refused StartTLS: ProtocolError (LDAP result code 2)',
    );
    await plain.remove();
  });

  it('that drops never becomes a plain one', async () => {
    for (let answers = 1; answers <= 5; answers += 1) {
      const sent: Buffer[] = [];
      let connections = 0;
      const dropping = keep(
        await relay(
          () => slapd.port,
          (near, far) => {
            connections += 1;
            let left = answers;
            near.on('data', (chunk) => {
              sent.push(chunk);
              far.write(chunk);
            });
            far.on('data', (chunk) => {
              left -= 1;
              near.write(chunk, () => left === 0 && near.destroy());
            });
          },
        ),
      );
      const started = performance.now();
      const url = `ldap://127.0.0.1:${dropping.port}`;
      await expect(signIn(url, { startTLS: true, ca: ca.pem, timeout: 20 })).rejects.toThrow(
        /closed|ECONNRESET|disconnected/i,
      );
      expect(performance.now() - started).toBeLessThan(10_000);
      expect(connections).toBe(1);
      const [startTLS, ...encrypted] = Buffer.concat(sent).toString('latin1').split('\x16\x03');
      expect(startTLS).toContain('1.3.6.1.4.1.1466.20037');
      expect(`${startTLS}${encrypted.join('')}`).not.toMatch(/secret|cn=|uid=/);
    }
  });

  it('that does not become encrypted gets nothing else', async () => {
    const sent: Buffer[] = [];
    const stalled = await tcp((socket) => {
      // Success, with the number of the request.
      socket.once('data', ([, , , , id = 0]: Buffer) =>
        socket.write(Buffer.from([0x30, 12, 2, 1, id, 0x78, 7, 10, 1, 0, 4, 0, 4, 0])),
      );
      socket.on('data', (chunk) => sent.push(chunk));
    });
    await expect(signIn(stalled.url, { startTLS: true, timeout: 0.5 })).rejects.toThrow(
      'no answer within 0.5 seconds',
    );
    await sleep(0.1);
    expect(sent).toHaveLength(2);
    expect(sent[1]?.[0]).toBe(0x16);
  });
});

describeLdap('a server', () => {
  it('that is stopped is named with the reason, without any password', async () => {
    const stopped = await Slapd.start({ entries });
    const strategy = ldap(searchAt(stopped.url));
    expect(await strategy.authenticate_user('ann', 'ann-secret', attempt())).toEqual(accepted);
    await stopped.stop();
    const failed = strategy.authenticate_user('ann', 'ann-secret', attempt());
    await expect(failed).rejects.toThrow(
      `no LDAP server can be used: ${stopped.url}: connect ECONNREFUSED`,
    );
    await expect(failed).rejects.not.toThrow(/secret/);
    await expect(strategy.check?.(attempt().signal)).rejects.toThrow('ECONNREFUSED');
    await stopped.start();
    expect(await strategy.authenticate_user('ann', 'ann-secret', attempt())).toEqual(accepted);
    await stopped.remove();
  });

  it('that never answers is followed by the next, and comes last for 30 seconds', async () => {
    const silent = await tcp();
    const strategy = ldap({ ...searchAt(silent.url), url: [silent.url, slapd.url], timeout: 2 });
    const take = () => strategy.authenticate_user('ann', 'ann-secret', attempt());
    expect(await take()).toEqual(accepted);
    expect(await take()).toEqual(accepted);
    expect(silent.sockets).toHaveLength(1);
    const now = performance.now.bind(performance);
    const clock = jest.spyOn(performance, 'now').mockImplementation(() => now() + 31_000);
    expect(await take()).toEqual(accepted);
    clock.mockRestore();
    expect(silent.sockets).toHaveLength(2);
  });

  it('is asked within one time limit for all servers', async () => {
    const urls = [(await tcp()).url, (await tcp()).url];
    const strategy = ldap({ ...searchAt(slapd.url), url: urls, timeout: 1 });
    const started = performance.now();
    await expect(strategy.authenticate_user('ann', 'ann-secret', attempt())).rejects.toThrow(
      `no LDAP server can be used: ${urls[0]}: no answer within 0.5 seconds; ${urls[1]}: no answer`,
    );
    expect(performance.now() - started).toBeLessThan(3000);
  });

  it('that never answers does not keep the static administrator out', async () => {
    const silent = await tcp();
    const strategies = new StrategyRegistry()
      .register('ldap', ldap(searchAt(silent.url)))
      .register('admin', staticUser('boss', cheapHash('boss-secret')));
    const app = keep(await serveLogin({ strategies }));
    const started = performance.now();
    const body = { username: 'boss', password: 'boss-secret' };
    expect((await postJson(app.login, body)).status).toBe(200);
    expect((await postJson(app.login, { ...body, strategy: 'admin' })).status).toBe(200);
    expect(performance.now() - started).toBeLessThan(8000);
    expect(silent.sockets).toHaveLength(0);
  });

  it('that closes or resets a connection does not disturb the next login', async () => {
    let cutAfter = 1;
    const cut = keep(
      await relay(
        () => slapd.port,
        (near, far) => {
          let left = cutAfter;
          near.on('data', (chunk) => {
            left -= 1;
            if (left === 0) near.resetAndDestroy();
            else far.write(chunk);
          });
          far.pipe(near);
        },
      ),
    );
    const strategy = ldap(searchAt(`ldap://127.0.0.1:${cut.port}`));
    for (cutAfter = 1; cutAfter <= 4; cutAfter += 1)
      await expect(strategy.authenticate_user('ann', 'ann-secret', attempt())).rejects.toThrow(
        /ECONNRESET|closed/,
      );
    cutAfter = Number.POSITIVE_INFINITY;
    expect(await strategy.authenticate_user('ann', 'ann-secret', attempt())).toEqual(accepted);
  });

  it('loses the connection when the attempt ends, however it ends', async () => {
    let open = 0;
    const counted = keep(
      await relay(
        () => slapd.port,
        (near, far) => {
          open += 1;
          near.on('close', () => {
            open -= 1;
          });
          near.pipe(far);
          far.pipe(near);
        },
      ),
    );
    const url = `ldap://127.0.0.1:${counted.port}`;
    await signIn(url);
    await signIn(url, {}, 'wrong');
    await ldap(searchAt(url)).find_user?.('ann', attempt());
    const wrong = { base: `ou=people,${suffix}`, filter: '(uid={username})', bindDN: 'cn=x' };
    await expect(signIn(url, { search: { ...wrong, password: 'x' } })).rejects.toThrow('is wrong');
    await waitFor(() => open === 0);
  });

  it('loses the connection at once when the login is aborted', async () => {
    let closedAt = 0;
    const silent = await tcp((socket) => {
      socket.on('close', () => {
        closedAt = performance.now();
      });
      socket.resume();
    });
    const controller = new AbortController();
    const failed = ldap(searchAt(silent.url)).authenticate_user(
      'ann',
      'ann-secret',
      attempt(controller.signal),
    );
    await waitFor(() => silent.sockets.length === 1);
    const abortedAt = performance.now();
    controller.abort(new Error('too late'));
    await expect(failed).rejects.toThrow('too late');
    await waitFor(() => closedAt > 0);
    expect(closedAt - abortedAt).toBeLessThan(1000);
    await expect(
      ldap(searchAt(silent.url)).authenticate_user('ann', 'x', attempt(controller.signal)),
    ).rejects.toThrow('too late');
  });
});

describeLdap('simultaneous logins', () => {
  it('never get the result of each other', async () => {
    const strategies = [
      ldap(searchAt(slapd.url)),
      ldap({ url: slapd.url, bindDN: `uid={username},ou=people,${suffix}` }),
    ];
    let runs = 0;
    const run = async (): Promise<void> => {
      while (runs < 1000) {
        const strategy = strategies[runs++ % 2];
        const [right, wrong] = await Promise.all([
          strategy?.authenticate_user('ann', 'ann-secret', attempt()),
          strategy?.authenticate_user('bob', 'ann-secret', attempt()),
        ]);
        expect([right, wrong]).toEqual([accepted, false]);
      }
    };
    await Promise.all(Array.from({ length: 8 }, run));
  });

  it('take the same time for an unknown name as for a wrong password', async () => {
    const slow = keep(
      await relay(
        () => slapd.port,
        (near, far) => {
          // A bind request has the tag 0x60 after its length and its number.
          near.on('data', (chunk) =>
            setTimeout(() => far.write(chunk), chunk[5] === 0x60 ? 500 : 0),
          );
          far.pipe(near);
        },
      ),
    );
    const strategy = ldap(searchAt(`ldap://127.0.0.1:${slow.port}`));
    const took = async (name: string): Promise<number> => {
      const started = performance.now();
      expect(await strategy.authenticate_user(name, 'wrong', attempt())).toBe(false);
      return performance.now() - started;
    };
    await eventually(async () => {
      const times = await Promise.all(['ann', 'ghost', 'bob', 'nobody'].map(took));
      const [ann = 0, ghost = 0, bob = 0, nobody = 0] = times;
      expect(ann + bob).toBeGreaterThan(1900);
      expect((ghost + nobody) / (ann + bob)).toBeGreaterThan(0.9);
      expect((ghost + nobody) / (ann + bob)).toBeLessThan(1.1);
    });
  });
});
