import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Change, Client } from 'ldapts';
import type { Certificate } from './certificates.js';
import { temporaryFolder } from './folder.js';
import { freePort } from './free-port.js';
import { waitFor } from './wait.js';

const program = ['/usr/sbin/slapd', '/usr/local/libexec/slapd'].find(existsSync) ?? 'slapd';

/** Whether this machine has slapd. With `CI=true` it is required. */
export const hasSlapd = process.env.CI === 'true' || spawnSync(program, ['-VV']).status === 0;

export const suffix = 'dc=example,dc=com';
const root = { dn: `cn=root,${suffix}`, password: 'root-secret' };

/** Attributes of other directories, which the schemas of slapd lack. */
const foreign = `
attributetype ( 1.3.6.1.4.1.4203.666.1.1 NAME 'userAccountControl'
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.4203.666.1.2 NAME 'nsAccountLock'
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.4203.666.1.3 NAME 'sAMAccountName'
  EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.4203.666.1.4 NAME 'pwdLastSet'
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.4203.666.1.99 NAME 'accountExpires'
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
objectclass ( 1.3.6.1.4.1.4203.666.2.1 NAME 'foreignAccount' SUP top AUXILIARY
  MAY ( userAccountControl $ accountExpires $ nsAccountLock $ sAMAccountName $ pwdLastSet ) )
`;

const configuration = (folder: string, tls: Certificate | undefined): string => `
${['core', 'cosine', 'nis', 'inetorgperson']
  .map((name) => `include /etc/ldap/schema/${name}.schema`)
  .join('\n')}
${foreign}
pidfile ${folder}/pid
argsfile ${folder}/args
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload ppolicy
allow bind_anon_cred bind_anon_dn
${tls ? `TLSCertificateFile ${tls.file}\nTLSCertificateKeyFile ${tls.key}` : ''}
database mdb
suffix "${suffix}"
rootdn "${root.dn}"
rootpw ${root.password}
directory ${folder}/data
maxsize 33554432
dbnosync
limits dn.exact="cn=small,${suffix}" size.hard=1
overlay memberof
memberof-group-oc groupOfNames
overlay ppolicy
ppolicy_default "cn=policy,${suffix}"
access to attrs=userPassword by self write by anonymous auth by * none
access to dn.subtree="ou=hidden,${suffix}" by dn.exact="cn=tasks,${suffix}" read by * none
access to * by * read
`;

/** Attributes of an entry by name. */
type Attributes = Record<string, string | string[]>;

interface SlapdOptions {
  tls?: Certificate;
  entries?: Record<string, Attributes>;
}

/** A directory server for a test. Its entries survive `stop` until `remove`. */
export class Slapd {
  readonly port: number;
  readonly tlsPort: number;
  readonly #folder = temporaryFolder();
  readonly #tls: Certificate | undefined;
  #server: ChildProcess | undefined;

  private constructor([port, tlsPort]: [number, number], tls: Certificate | undefined) {
    this.port = port;
    this.tlsPort = tlsPort;
    this.#tls = tls;
    mkdirSync(join(this.#folder.path, 'data'));
    writeFileSync(this.#folder.file('slapd.conf'), configuration(this.#folder.path, tls));
  }

  /** Starts a server with entries, given their DNs below the suffix. */
  static async start({ tls, entries = {} }: SlapdOptions = {}): Promise<Slapd> {
    const slapd = new Slapd([await freePort(), await freePort()], tls);
    await slapd.start();
    await slapd.asRoot(async (client) => {
      const domain = { objectClass: ['dcObject', 'organization'], dc: 'example', o: 'Example' };
      await client.add(suffix, domain);
      await client.add(`cn=policy,${suffix}`, {
        objectClass: ['device', 'pwdPolicy'],
        ...{ cn: 'policy', pwdAttribute: 'userPassword', pwdLockout: 'TRUE' },
      });
      for (const [dn, attributes] of Object.entries(entries))
        await client.add(`${dn},${suffix}`, attributes);
    });
    return slapd;
  }

  get url(): string {
    return `ldap://127.0.0.1:${this.port}`;
  }

  get tlsUrl(): string {
    return `ldaps://127.0.0.1:${this.tlsPort}`;
  }

  async start(): Promise<void> {
    const urls = [this.url, ...(this.#tls ? [this.tlsUrl] : [])];
    const args = ['-f', this.#folder.file('slapd.conf'), '-h', urls.join(' '), '-d', '0'];
    this.#server = spawn(program, args, { stdio: 'ignore' });
    await waitFor(() => accepts(this.port));
  }

  /** Runs commands with all rights. */
  async asRoot<T>(use: (client: Client) => Promise<T>): Promise<T> {
    const client = new Client({ url: this.url });
    try {
      await client.bind(root.dn, root.password);
      return await use(client);
    } finally {
      await client.unbind();
    }
  }

  /** Changes an entry, given its DN below the suffix. */
  modify(dn: string, change: Change): Promise<void> {
    return this.asRoot((client) => client.modify(`${dn},${suffix}`, change));
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server || server.exitCode !== null || server.signalCode !== null) return;
    server.kill();
    await once(server, 'exit');
  }

  async remove(): Promise<void> {
    await this.stop();
    this.#folder.remove();
  }
}

async function accepts(port: number): Promise<boolean> {
  const socket = createConnection(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** Starts the directory of examples/ldap, as its README.md says. */
export async function startExampleDirectory() {
  const folder = temporaryFolder();
  const example = fileURLToPath(new URL('../../examples/ldap/', import.meta.url));
  const options = { cwd: folder.path, stdio: 'ignore' } as const;
  mkdirSync(folder.file('directory.db'));
  const add = program.replace(/slapd$/, 'slapadd');
  spawnSync(add, ['-f', `${example}slapd.conf`, '-l', `${example}directory.ldif`], options);
  const port = await freePort();
  const url = `ldap://127.0.0.1:${port}`;
  const server = spawn(program, ['-f', `${example}slapd.conf`, '-h', url, '-d', '0'], options);
  await waitFor(() => accepts(port));
  return {
    url,
    async remove() {
      server.kill();
      await once(server, 'exit');
      folder.remove();
    },
  };
}
