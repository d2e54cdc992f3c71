// Makes random mistakes in src, one at a time, and says which of them the tests catch:
//
//   node scripts/mutate.js [--count 60] [--seed 1] [--in src/auth]
//
// Each mistake is made in a copy of the last commit. The tests at the mirrored path run first, then
// all tests that import the file, then those in test/e2e, until one fails. A mistake that none of
// them catches is printed with its place. The same seed makes the same mistakes again.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import ts from 'typescript';
import { randomNumbers } from './random-numbers.js';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    in: { type: 'string', default: 'src' },
  },
});
const count = Number(values.count);
const seed = Number(values.seed);

/** @typedef {{ path: string, start: number, end: number, by: string }} Mistake */

const opposite = new Map([
  [ts.SyntaxKind.EqualsEqualsEqualsToken, '!=='],
  [ts.SyntaxKind.ExclamationEqualsEqualsToken, '==='],
  [ts.SyntaxKind.LessThanToken, '<='],
  [ts.SyntaxKind.LessThanEqualsToken, '<'],
  [ts.SyntaxKind.GreaterThanToken, '>='],
  [ts.SyntaxKind.GreaterThanEqualsToken, '>'],
  [ts.SyntaxKind.AmpersandAmpersandToken, '||'],
  [ts.SyntaxKind.BarBarToken, '&&'],
  [ts.SyntaxKind.PlusToken, '-'],
  [ts.SyntaxKind.MinusToken, '+'],
  [ts.SyntaxKind.AsteriskToken, '/'],
]);

/**
 * Returns the mistakes that can be made in a file: the replaced text, and its replacement.
 * @param {string} path
 */
function mistakesIn(path) {
  const text = readFileSync(path, 'utf8');
  const kind = path.endsWith('x') ? ts.ScriptKind.TSX : ts.ScriptKind.TS;
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true, kind);
  /** @type {Mistake[]} */
  const found = [];
  /**
   * @param {ts.Node} node
   * @param {string} by
   */
  const add = (node, by) => found.push({ path, start: node.getStart(file), end: node.end, by });
  /**
   * @param {ts.Node} node
   * @returns {void}
   */
  const visit = (node) => {
    // Types have no effect at run time.
    if (ts.isTypeNode(node) || ts.isInterfaceDeclaration(node)) return;
    if (ts.isTypeAliasDeclaration(node) || ts.isImportDeclaration(node)) return;
    if (ts.isBinaryExpression(node)) {
      const by = opposite.get(node.operatorToken.kind);
      const isText = [node.left, node.right].some(
        (side) => ts.isStringLiteralLike(side) || ts.isTemplateExpression(side),
      );
      if (by !== undefined && !isText) add(node.operatorToken, by);
    } else if (ts.isIfStatement(node)) add(node.expression, `!(${node.expression.getText(file)})`);
    else if (ts.isExpressionStatement(node) && ts.isCallExpression(node.expression)) {
      // A call of super must stay, or nothing can be constructed.
      if (node.expression.expression.kind !== ts.SyntaxKind.SuperKeyword) add(node, ';');
    } else if (node.kind === ts.SyntaxKind.TrueKeyword) add(node, 'false');
    else if (node.kind === ts.SyntaxKind.FalseKeyword) add(node, 'true');
    else if (ts.isNumericLiteral(node)) add(node, String(Number(node.text) + 1));
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

/** Makes a copy of the last commit in which tests run. */
function makeCopy() {
  const copy = mkdtempSync(join(tmpdir(), 'mutate-'));
  const archive = execFileSync('git', ['archive', 'HEAD'], { maxBuffer: 2 ** 28 });
  execFileSync('tar', ['x', '-C', copy], { input: archive });
  symlinkSync(resolve('node_modules'), join(copy, 'node_modules'));
  return copy;
}

const jest = [
  ...['--expose-gc', '--experimental-vm-modules', '--disable-warning=ExperimentalWarning'],
  ...['node_modules/jest/bin/jest.js', '--bail', '--passWithNoTests'],
];

/** Steps that passed without a mistake. */
const passed = new Set();

/**
 * Runs tests in the copy, with a mistake and, if they fail, without it. Returns whether the mistake
 * makes them fail. A run of more than ten minutes counts as failed.
 * @param {string} copy
 * @param {readonly string[]} tests
 * @param {string} path
 */
function fails(copy, tests, path) {
  const run = () => {
    execFileSync(process.execPath, ['scripts/build.js'], { cwd: copy, stdio: 'ignore' });
    const args = [...jest, ...tests];
    const { status } = spawnSync(process.execPath, args, {
      cwd: copy,
      stdio: 'ignore',
      timeout: 600_000,
    });
    return status === 0;
  };
  if (run()) return false;
  if (passed.has(tests.join())) return true;
  const mistaken = readFileSync(join(copy, path), 'utf8');
  writeFileSync(join(copy, path), readFileSync(path, 'utf8'));
  if (!run()) throw new Error(`these tests fail without a mistake: ${tests.join(' ')}`);
  writeFileSync(join(copy, path), mistaken);
  passed.add(tests.join());
  return true;
}

/**
 * Returns the tests that catch the mistake in a file of the copy, or undefined.
 * @param {string} copy
 * @param {string} path
 */
function caughtBy(copy, path) {
  const mirrored = path.replace(/^src/, 'test').replace(/\.tsx?$/, '');
  const folder = dirname(mirrored);
  const steps = [
    ...(existsSync(join(copy, `${mirrored}.test.ts`)) ? [[`${mirrored}.test.ts`]] : []),
    ...(folder !== 'test' && existsSync(join(copy, folder)) ? [[`${folder}/`]] : []),
    ['--findRelatedTests', path],
    ['test/e2e/'],
  ];
  return steps.find((tests) => fails(copy, tests, path))?.join(' ');
}

const random = randomNumbers(seed);
const all = readdirSync(values.in, { recursive: true, encoding: 'utf8' })
  .filter((file) => /\.tsx?$/.test(file))
  .map((file) => join(values.in, file))
  .filter((file) => !file.startsWith(join('src', 'testing', 'contract')))
  .sort()
  .flatMap(mistakesIn);
const copy = makeCopy();
console.log(`seed ${seed}, ${count} of ${all.length} possible mistakes, in ${copy}`);
let caught = 0;
for (let n = 1; n <= count; n++) {
  const [mistake] = all.splice(Math.floor(random() * all.length), 1);
  if (!mistake) break;
  const { path, start, end, by } = mistake;
  const text = readFileSync(path, 'utf8');
  const place = `${path}:${text.slice(0, start).split('\n').length}`;
  writeFileSync(join(copy, path), text.slice(0, start) + by + text.slice(end));
  const step = caughtBy(copy, path);
  writeFileSync(join(copy, path), text);
  if (step !== undefined) caught += 1;
  const before = text.slice(start, end).replaceAll(/\s+/g, ' ');
  const change = `${before.slice(0, 60)} → ${by.slice(0, 60)}`;
  console.log(`${n} ${step === undefined ? 'SURVIVED' : `caught by ${step}`} ${place} ${change}`);
  console.log(`  ${caught} of ${n} caught (${Math.round((caught / n) * 100)} %)`);
}
