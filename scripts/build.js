// Builds the server files into dist/ and the browser's files, named by a hash of their content, into public/assets/.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, gzip } from 'node:zlib';

const root = new URL('..', import.meta.url).pathname;
const dist = join(root, 'dist');
const assets = join(root, 'public/assets');

const esbuild = await import('esbuild').catch(() => undefined);
if (!esbuild) {
  if (!existsSync(join(dist, 'index.js'))) throw new Error('esbuild is missing; run npm install');
  console.log('koa-taskflow: already built, nothing to do without the development packages');
  process.exit(0);
}

const sources = (await readdir(join(root, 'src'), { recursive: true }))
  .filter((file) => file.endsWith('.ts') && !file.startsWith('ui/'))
  .map((file) => join(root, 'src', file));

await rm(dist, { recursive: true, force: true });
await esbuild.build({
  entryPoints: sources,
  outdir: dist,
  outbase: join(root, 'src'),
  format: 'esm',
  platform: 'node',
  target: 'node20',
});

/** @type {Map<string, Uint8Array>} */
const files = new Map();
for (const [folder, names] of /** @type {const} */ ([
  ['styles', ['dashboard.css', 'login.css']],
  ['icons', ['icon.svg']],
])) {
  for (const name of names) {
    const path = join(root, 'public', folder, name);
    if (extname(name) !== '.css') {
      files.set(name, await readFile(path));
      continue;
    }
    const { outputFiles } = await esbuild.build({ entryPoints: [path], bundle: true, minify: true, write: false });
    files.set(name, outputFiles[0]?.contents ?? new Uint8Array());
  }
}
const { outputFiles } = await esbuild.build({
  entryPoints: [join(root, 'src/ui/main.tsx')],
  bundle: true,
  minify: true,
  write: false,
  format: 'esm',
  target: 'es2022',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  legalComments: 'none',
});
files.set('dashboard.js', outputFiles[0]?.contents ?? new Uint8Array());

await rm(assets, { recursive: true, force: true });
await mkdir(assets, { recursive: true });
/** @type {Record<string, string>} */
const manifest = {};
for (const [name, content] of files) {
  const hash = createHash('sha256').update(content).digest('hex').slice(0, 10);
  const file = `${basename(name, extname(name))}-${hash}${extname(name)}`;
  manifest[name] = file;
  await writeFile(join(assets, file), content);
  await writeFile(join(assets, `${file}.br`), await promisify(brotliCompress)(content));
  await writeFile(join(assets, `${file}.gz`), await promisify(gzip)(content, { level: 9 }));
}
await writeFile(join(assets, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
