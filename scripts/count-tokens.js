// Prints the number of tokens of the source by room: `node scripts/count-tokens.js [root]`. An
// identifier counts one whatever its length, comments count nothing, and the contract tests in
// src/testing are left out.
import { readdirSync, readFileSync } from 'node:fs';
import { join, sep } from 'node:path';
import ts from 'typescript';

const root = process.argv[2] ?? 'src';
const leftOut = join('testing', 'contract');

/**
 * The number of tokens of one file, without comments and white space.
 * @param {string} path
 */
function tokensOf(path) {
  const file = ts.createSourceFile(
    path,
    readFileSync(path, 'utf8'),
    ts.ScriptTarget.Latest,
    false,
    path.endsWith('x') ? ts.ScriptKind.TSX : ts.ScriptKind.TS,
  );
  let count = 0;
  // The parser, not the scanner alone, knows where a template and an expression of JSX end.
  /** @param {ts.Node} node */
  const visit = (node) => {
    const children = node.getChildren(file).filter((child) => !ts.isJSDoc(child));
    if (children.length === 0) count += node.getText(file) === '' ? 0 : 1;
    else children.forEach(visit);
  };
  ts.forEachChild(file, visit);
  return count;
}

const rooms = new Map();
let total = 0;
for (const path of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
  if (!/\.tsx?$/.test(path) || path.includes(leftOut)) continue;
  const count = tokensOf(join(root, path));
  const room = path
    .split(sep)
    .slice(0, 2)
    .join('/')
    .replace(/\/[^/]+\.tsx?$/, '');
  rooms.set(room, (rooms.get(room) ?? 0) + count);
  total += count;
}
for (const [room, count] of [...rooms].sort((a, b) => b[1] - a[1]))
  if (count > 1000) console.log(String(count).padStart(8), room);
console.log(String(total).padStart(8), 'in all');
