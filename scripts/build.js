// Builds the server files into dist/ and the browser's files, named by a hash of their content,
// into public/assets/. A file that is already right is left alone, so that a build never disturbs
// what runs on the last one.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { brotliCompress, gzip } from 'node:zlib';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');
const assets = join(root, 'public/assets');

const esbuild = /** @type {typeof import('esbuild')} */ (await import('esbuild').catch(() => null));
if (!esbuild) {
  if (!existsSync(join(dist, 'index.js'))) throw new Error('esbuild is missing; run npm install');
  console.log('koa-taskflow: already built, nothing to do without the development packages');
  process.exit(0);
}

/** @typedef {Map<string, Uint8Array>} Files by path */

/** @type {{ exports: Record<string, string | { default: string }> }} */
const { exports: exported } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));

/**
 * @param {import('esbuild').BuildOptions} options
 * @returns {Promise<Uint8Array>}
 */
async function bundle(options) {
  const { outputFiles } = await esbuild.build({
    ...options,
    bundle: true,
    minify: true,
    write: false,
    legalComments: 'none',
  });
  return outputFiles[0]?.contents ?? new Uint8Array();
}

/**
 * The files that other files can import from dist: those of package.json, the command, the threads
 * and processes that it starts, and the parts that tests and benchmarks use.
 */
const entryPoints = [
  ...Object.values(exported)
    .flatMap((value) => (typeof value === 'string' ? [] : [value.default]))
    .map((file) => file.replace('./dist/', '')),
  'cli.js',
  'package-files.js',
  'auth/app-command.js',
  'engines/embedded/backup-thread.js',
  'engines/embedded/write-thread.js',
  'engines/bullmq/job-engine.js',
  'engines/embedded/engine.js',
  'options.js',
  'engines/tables/schema/claimed-task.js',
  'engines/tables/schema/database.js',
  'engines/tables/schema/layout.js',
  'engines/tables/schema/packing.js',
  'engines/tables/write/counters.js',
  'engines/tables/write/packed-tasks.js',
  'engines/tables/write/writer.js',
  'tasks/task-id.js',
];

/**
 * The server in few files, because an import takes longer the more files it loads. What several
 * entry points use becomes a file of dist itself, the folder that `src/package-files.ts` expects.
 *
 * @returns {Promise<Files>}
 */
async function serverFiles() {
  const { outputFiles } = await esbuild.build({
    entryPoints: entryPoints.map((file) => join(root, 'src', file.replace(/js$/, 'ts'))),
    outdir: dist,
    outbase: join(root, 'src'),
    format: 'esm',
    platform: 'node',
    target: 'node20',
    bundle: true,
    splitting: true,
    packages: 'external',
    write: false,
  });
  return new Map(outputFiles.map(({ path, contents }) => [path, contents]));
}

/**
 * The dashboard in two files: what the first view needs, and the pages that are opened later.
 * Whatever both use would become a third, which the first view had to wait for; with the first one
 * as a part of the second, that third file is all of it.
 *
 * @returns {Promise<{ first: string, files: Record<string, Uint8Array> }>} by names that hold a
 * hash already
 */
async function dashboardScripts() {
  const main = join(root, 'src/ui/main.tsx');
  const { outputFiles, metafile } = await esbuild.build({
    format: 'esm',
    target: 'es2022',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    entryPoints: [main],
    outdir: assets,
    bundle: true,
    splitting: true,
    minify: true,
    charset: 'utf8',
    write: false,
    metafile: true,
    legalComments: 'none',
    // package.json says that no file has side effects, which is not true of main.tsx.
    ignoreAnnotations: true,
    chunkNames: 'chunk-[hash]',
    plugins: [
      {
        name: 'lazy',
        setup({ onResolve, onLoad }) {
          onResolve({ filter: /\/lazy\.js$/ }, ({ kind, path, resolveDir }) =>
            kind === 'dynamic-import'
              ? { path: join(resolveDir, path.replace(/js$/, 'ts')), namespace: 'lazy' }
              : undefined,
          );
          // package.json says that no file has side effects, which is not true of this one.
          onResolve({ filter: /ui\/main\.tsx$/ }, ({ namespace }) =>
            namespace === 'lazy' ? { path: main, sideEffects: true } : undefined,
          );
          onLoad({ filter: /./, namespace: 'lazy' }, ({ path }) => ({
            contents: `import ${JSON.stringify(main)}; export * from ${JSON.stringify(path)};`,
            resolveDir: dirname(path),
          }));
        },
      },
    ],
  });
  const [first] = Object.entries(metafile.outputs).find(([, { inputs }]) =>
    Object.keys(inputs).some((path) => path.endsWith('ui/shell/frame.tsx')),
  ) ?? [''];
  const files = outputFiles
    .filter(({ path }) => basename(path) !== 'main.js')
    .map(({ path, contents }) => [basename(path), contents]);
  return { first: basename(first), files: Object.fromEntries(files) };
}

/** @returns {Promise<Files>} */
async function browserFiles() {
  /** @type {Record<string, Uint8Array>} */
  const built = {
    'dashboard.css': await bundle({ entryPoints: [join(root, 'public/styles/dashboard.css')] }),
    'login.js': await bundle({
      entryPoints: [join(root, 'src/ui/login.ts')],
      format: 'esm',
      target: 'es2022',
    }),
    'login.css': await bundle({ entryPoints: [join(root, 'public/styles/login.css')] }),
    'icon.svg': await readFile(join(root, 'public/icons/icon.svg')),
    'icon-alert.svg': await readFile(join(root, 'public/icons/icon-alert.svg')),
  };
  /** @type {Files} */
  const files = new Map();
  /** @type {Record<string, string>} */
  const manifest = {};
  /**
   * @param {string} file
   * @param {Uint8Array} content
   */
  const add = async (file, content) => {
    files.set(join(assets, file), content);
    files.set(join(assets, `${file}.br`), await promisify(brotliCompress)(content));
    files.set(join(assets, `${file}.gz`), await promisify(gzip)(content, { level: 9 }));
  };
  for (const [name, content] of Object.entries(built)) {
    const hash = createHash('sha256').update(content).digest('hex').slice(0, 10);
    const file = `${basename(name, extname(name))}-${hash}${extname(name)}`;
    manifest[name] = file;
    await add(file, content);
  }
  const scripts = await dashboardScripts();
  for (const [file, content] of Object.entries(scripts.files)) {
    manifest[file === scripts.first ? 'dashboard.js' : file] = file;
    await add(file, content);
  }
  files.set(join(assets, 'manifest.json'), Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`));
  return files;
}

/**
 * @param {string} folder
 * @param {Files} files
 * @param {(path: string) => boolean} isOurs
 */
async function install(folder, files, isOurs) {
  for (const [path, content] of files) {
    const present = await readFile(path).catch(() => undefined);
    if (present?.equals(content)) continue;
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
  }
  for (const file of await readdir(folder, { recursive: true })) {
    const path = join(folder, file);
    if (isOurs(path) && !files.has(path)) await rm(path);
  }
}

await install(dist, await serverFiles(), (path) => path.endsWith('.js'));
await install(assets, await browserFiles(), (path) => extname(path) !== '');
