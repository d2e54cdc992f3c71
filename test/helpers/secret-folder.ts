import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { temporaryFolder } from './folder.js';

/** A folder with files of secrets, which are replaced as tools in production do. */
export interface SecretFolder {
  file(name: string): string;
  /** Writes a new file and renames it, as Docker and the agents of secrets managers do. */
  replace(name: string, content: string | Buffer): string;
  /** Rewrites a file in place. */
  rewrite(name: string, content: string): string;
  /**
   * Mounts files as Kubernetes does: each is a link into `..data`, a link to a folder. A new
   * version is a new folder, to which `..data` then leads.
   */
  mount(files: Readonly<Record<string, string>>): void;
  remove(): void;
}

export function secretFolder(): SecretFolder {
  const { file, remove } = temporaryFolder();
  let versions = 0;
  const link = (target: string, name: string): void => {
    symlinkSync(target, file(`${name}.new`));
    renameSync(file(`${name}.new`), file(name));
  };
  return {
    file,
    remove,
    replace(name, content) {
      writeFileSync(file(`${name}.new`), content);
      renameSync(file(`${name}.new`), file(name));
      return file(name);
    },
    rewrite(name, content) {
      writeFileSync(file(name), content);
      return file(name);
    },
    mount(files) {
      const before = `..version-${versions}`;
      versions += 1;
      const version = `..version-${versions}`;
      mkdirSync(file(version));
      for (const [name, content] of Object.entries(files))
        writeFileSync(file(`${version}/${name}`), content);
      link(version, '..data');
      for (const name of Object.keys(files)) link(`..data/${name}`, name);
      rmSync(file(before), { recursive: true, force: true });
    },
  };
}
