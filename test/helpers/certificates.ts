import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A certificate and its key, as files and as text. */
export interface Certificate {
  file: string;
  key: string;
  pem: string;
}

const openssl = (...args: string[]): void => {
  const { status, stderr } = spawnSync('openssl', args);
  if (status !== 0) throw new Error(`openssl ${args.join(' ')}: ${stderr}`);
};

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** Makes a CA in a folder. Returns it, and a function that makes certificates of servers. */
export function makeCa(folder: string, name: string) {
  const file = (suffix: string): string => join(folder, `${name}${suffix}`);
  const ca: Certificate = { file: file('.pem'), key: file('.key'), pem: '' };
  const subject = ['-subj', `/CN=${name}`];
  openssl('req', '-x509', ...newKey, ...subject, '-keyout', ca.key, '-out', ca.file, '-days', '2');
  ca.pem = readFileSync(ca.file, 'utf8');

  /** The names are those of the extension subjectAltName, such as `IP:127.0.0.1`. */
  const issue = (server: string, names: string, days = 1): Certificate => {
    const [key, request, made, names_] = ['.key', '.csr', '.pem', '.ext'].map((suffix) =>
      join(folder, `${name}-${server}${suffix}`),
    ) as [string, string, string, string];
    writeFileSync(names_, `subjectAltName = ${names}\n`);
    openssl('req', ...newKey, '-subj', `/CN=${server}`, '-keyout', key, '-out', request);
    const issuer = ['-CA', ca.file, '-CAkey', ca.key, '-CAcreateserial'];
    const signed = ['-req', '-in', request, '-out', made, '-extfile', names_];
    openssl('x509', ...signed, ...issuer, '-days', String(days));
    return { file: made, key, pem: readFileSync(made, 'utf8') };
  };
  return { ...ca, issue };
}
