import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Context } from 'koa';
import serve from 'koa-static';
import { TaskflowError } from '../errors.js';
import { packageFile } from '../package-files.js';
import { ignoreDisconnects } from './client-disconnect.js';
import { assetHeaders } from './headers.js';

const folder = fileURLToPath(packageFile('public/assets/'));

/** The built files of the suite. Each file is built with a hash of its content in its name. */
export interface Assets {
  /** Returns the hashed name of a file. Throws for a name that was not built. */
  file(name: string): string;
  /** Answers with the file of a hashed name, or throws NOT_FOUND. */
  send(ctx: Context, file: string): Promise<void>;
}

let loaded: Assets | undefined;

/**
 * Returns the built files. The manifest is read once, and only files in it are served, whatever the
 * path of a request is.
 */
export function builtAssets(): Assets {
  loaded ??= load();
  return loaded;
}

function load(): Assets {
  const names = readManifest();
  const files = new Set(names.values());
  const fromFolder = serve(folder, { index: false });
  return {
    file(name) {
      const file = names.get(name);
      if (file === undefined) throw new TypeError(`no built asset '${name}'; run npm run build`);
      return file;
    },
    async send(ctx, file) {
      if (!files.has(file)) throw new TaskflowError('NOT_FOUND', 'There is no such file.');
      ignoreDisconnects(ctx);
      const asked = ctx.path;
      try {
        ctx.path = `/${file}`;
        await fromFolder(ctx, async () => {
          throw new TaskflowError('NOT_FOUND', 'There is no such file.');
        });
      } finally {
        ctx.path = asked;
      }
      ctx.remove('Content-Security-Policy');
      assetHeaders(ctx);
      // The name contains a hash of the content, so it can serve as the entity tag.
      ctx.set('ETag', `"${file}"`);
      if (ctx.fresh) notModified(ctx);
    },
  };
}

/** Answers 304 (RFC 9110 section 15.4.5): keeps the headers and sends no file. */
function notModified(ctx: Context): void {
  if (ctx.body instanceof Readable) ctx.body.destroy();
  ctx.body = null;
  ctx.status = 304;
}

function readManifest(): Map<string, string> {
  try {
    return new Map(
      Object.entries(
        JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')) as Record<string, string>,
      ),
    );
  } catch (cause) {
    throw new Error('the built assets of koa-taskflow are missing; run npm run build', { cause });
  }
}
