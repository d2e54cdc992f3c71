import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { errorCodes } from '../src/errors.js';
import { type AdminApp, serveAdmin } from './helpers/admin-app.js';
import { fileBlock } from './helpers/docs-app.js';
import { temporaryFolder } from './helpers/folder.js';
import { startProcess } from './helpers/process.js';
import { hasRedis, RedisServer } from './helpers/redis.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const pages = [
  'README.md',
  ...readdirSync(`${root}/examples`, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => `examples/${file}`),
  ...readdirSync(`${root}/docs`)
    .filter((file) => file.endsWith('.md'))
    .map((file) => `docs/${file}`),
];
const read = (page: string): string => readFileSync(`${root}/${page}`, 'utf8');

interface Program {
  imports: Map<string, Set<string>>;
  names: Set<string>;
  lines: string[];
}

const someKey = 'abcdefghijklmnopqrstuvwxyz0123456789';

const newProgram = (): Program => ({ imports: new Map(), names: new Set(), lines: [] });

/**
 * Returns the programs of a page. A code block continues the previous one, unless it declares a
 * name that the previous one has declared. Blocks that begin with the name of a file are run by
 * docs-apps.test.ts.
 */
function programsOf(text: string): string[] {
  const programs: Program[] = [];
  for (const [, code = ''] of text.replaceAll(fileBlock, '').matchAll(/```js\n(.*?)```/gs)) {
    const names = [...code.matchAll(/^(?:const|async function\*?|function) (\w+)/gm)].map(
      ([, name = '']) => name,
    );
    const last = programs.at(-1);
    const program = last && !names.some((name) => last.names.has(name)) ? last : newProgram();
    if (program !== last) programs.push(program);
    for (const name of names) program.names.add(name);
    for (const line of code.split('\n')) {
      const [, whole, list, from] = /^import (?:(\w+)|\{ (.*) \}) from '(.*)';$/.exec(line) ?? [];
      if (from === undefined) program.lines.push(line);
      else
        program.imports.set(
          from,
          new Set([
            ...(program.imports.get(from) ?? []),
            ...(whole ? [`default as ${whole}`] : (list ?? '').split(', ')),
          ]),
        );
    }
  }
  return programs.map(({ imports, lines }) =>
    [
      ...[...imports].map(([from, names]) => `import { ${[...names].join(', ')} } from '${from}';`),
      ...lines,
    ].join('\n'),
  );
}

/** Returns the fragments of the headings of a page, as GitHub makes them. */
function sectionsOf(text: string): Set<string> {
  const headings = text.replaceAll(/```.*?```/gs, '').matchAll(/^#+ (.+)$/gm);
  return new Set(
    [...headings].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

describe('the docs', () => {
  let shop: AdminApp;
  let redis: RedisServer | undefined;
  beforeAll(async () => {
    [shop, redis] = await Promise.all([
      serveAdmin({ auth: null }),
      hasRedis ? RedisServer.start() : undefined,
    ]);
  });
  afterAll(() => Promise.all([shop.close(), redis?.remove()]));

  it.each(
    pages.flatMap((page) =>
      programsOf(read(page)).map(
        (code, index) => [`program ${index + 1} of ${page}`, code] as const,
      ),
    ),
  )('contain code that runs: %s', async (_name, code) => {
    const folder = temporaryFolder();
    for (const [, name = ''] of code.matchAll(/'\/run\/secrets\/([\w-]+)'/g))
      writeFileSync(folder.file(name), `${someKey}\n`);
    const hash = '$2y$04$BE7BGUqWiap13TVTrMR9XelWkRszoy2Kw5oUBVye.g9d7HVCrRbpe';
    writeFileSync(folder.file('users.htpasswd'), `alice:${hash}\n`);
    // Each program uses its own folder, a free port and the shop of this test.
    const placed = code
      .replaceAll('https://shop.example.com/tasks', shop.base)
      .replaceAll('port: 6379', () => `port: ${redis?.port}`)
      .replace('AbortSignal.timeout(60_000)', 'AbortSignal.timeout(300)')
      .replaceAll("'tasks.db.moved'", JSON.stringify(folder.file('tasks.db.moved')))
      .replaceAll("'users.db'", JSON.stringify(folder.file('users.db')))
      .replaceAll("'users.htpasswd'", JSON.stringify(folder.file('users.htpasswd')))
      .replaceAll("'tasks.db'", JSON.stringify(folder.file('tasks.db')))
      .replaceAll('/run/secrets/', folder.file('/'))
      .replaceAll('`tasks.db-', () => `\`${folder.file('tasks.db-')}`)
      .replace('app.listen(3000,', 'app.listen(0,');
    // Most programs are servers, which do not end on their own.
    const program = `${placed}\nsetTimeout(() => process.exit(0), 300);`;
    const env = {
      ADMIN_PASSWORD: 'a',
      ALICE_PASSWORD: 'b',
      GITHUB_CLIENT_SECRET: 'f',
      LDAP_PASSWORD: 'd',
      OIDC_CLIENT_SECRET: 'e',
      TASKFLOW_SECRET_KEY: someKey,
      // The path that the program adds is a fragment, so that `fetch` returns this answer.
      VAULT_ADDR: 'data:application/json,{"data":{"data":{"password":"a"}}}#',
      VAULT_TOKEN: 'c',
    };
    const child = startProcess(process.execPath, ['--input-type=module', '-e', program], env);
    expect([await child.ended, child.lines.filter((line) => /Error/.test(line))]).toEqual([0, []]);
    folder.remove();
  });

  it.each(pages)('contain no broken link: %s', (page) => {
    const base = new URL(`../${page}`, import.meta.url);
    const links = [...read(page).matchAll(/\]\(([^)]+)\)/g)]
      .map(([, target = '']) => target)
      .filter((target) => !target.startsWith('http'));
    const broken = links.filter((link) => {
      const [path = '', section] = link.split('#');
      const target = path === '' ? base : new URL(path, base);
      if (!existsSync(target)) return true;
      return section !== undefined && !sectionsOf(readFileSync(target, 'utf8')).has(section);
    });
    expect(broken).toEqual([]);
  });

  it('name an existing test for every row of the threat model', () => {
    const rows = [
      ...read('docs/threat-model.md').matchAll(/^\| ([SRD]\d+) \| .+? \| (`test\/.+) \|$/gm),
    ];
    const range = (letter: string, first: number, last: number): string[] =>
      Array.from({ length: last - first + 1 }, (_, n) => `${letter}${first + n}`);
    const wanted = [
      range('S', 1, 14),
      range('S', 20, 25),
      range('S', 30, 38),
      range('S', 40, 58),
      range('S', 60, 67),
      range('S', 70, 74),
      range('S', 80, 97),
      range('S', 100, 100),
      range('S', 102, 102),
      range('S', 104, 129),
      range('R', 1, 69),
      ...['R86', 'R87', 'R89', 'D3', 'D16', 'D17', 'D19'],
    ].flat();
    expect(rows.map(([, number]) => number).sort()).toEqual(wanted.sort());
    const missing = rows.flatMap(([, number, cell = '']) =>
      cell.split('<br>').filter((entry) => {
        const [, file = '', title = ''] = /^`(test\/[^`]+)`: (.+)$/.exec(entry) ?? [];
        const text = existsSync(`${root}/${file}`) ? read(file) : '';
        const quoted = ["'", '"', '`'].some((quote) => text.includes(`${quote}${title}${quote}`));
        return !quoted && `${number} ${entry}`;
      }),
    );
    expect(missing).toEqual([]);
  });

  it.each(
    [
      ...pages,
      ...readdirSync(`${root}/examples`, { recursive: true, encoding: 'utf8' })
        .filter((file) => file.endsWith('.js'))
        .map((file) => `examples/${file}`),
    ].filter((page) => read(page).includes('.listen(')),
  )('set the limits of the server in every example that listens: %s', (page) => {
    expect(read(page)).toContain('headersTimeout = 15_000');
    expect(read(page)).toContain('requestTimeout = 30_000');
  });

  it('list every message that is logged without an event, and every background job', () => {
    const page = read('docs/what-is-logged.md');
    const sources = readdirSync(`${root}/src`, { recursive: true, encoding: 'utf8' }).filter(
      (file) => file.endsWith('.ts'),
    );
    const messages = sources.flatMap((file) => {
      // A long message is written as several strings in a row.
      const code = read(`src/${file}`).replaceAll(/(['`]) \+\s*\1/g, '');
      const lines = [
        ...code.matchAll(/logger\.(?:error|warn|info|debug)\((.{1,500}?)\)[;,]?$/gms),
      ].map(([, call = '']) => call);
      const jobs = [...code.matchAll(/new (?:RedisWork|Background)\([^']*?'([^']+)'\)/g)].map(
        ([, job = '']) => job,
      );
      // The message is the last argument: a string, or the name of a constant.
      const said = lines
        .filter((call) => !/\bevent\b/.test(call))
        .flatMap((call) => {
          const name = /, (\w+)$/.exec(call)?.[1];
          const text =
            name === undefined
              ? call
              : (new RegExp(`const ${name} =\\s*('[^']+')`).exec(code)?.[1] ?? '');
          return [
            ...text.matchAll(/'([^']+)',?\s*$/g),
            ...text.matchAll(/`([^`$]+\$)\{[^`]*`,?\s*$/g),
          ];
        });
      return [...said.map(([, message = '']) => message), ...jobs];
    });
    expect(messages.length).toBeGreaterThan(50);
    // The page may end a long message with an ellipsis. It has the beginning of a message with
    // placeholders.
    const quoted = [...page.replaceAll(/```.*?```/gs, '').matchAll(/`([^`]+)`/g)].map(
      ([, text = '']) => text,
    );
    const isListed = (message: string): boolean =>
      quoted.some(
        (text) =>
          text === message ||
          (text.endsWith('…') && message.startsWith(text.slice(0, -1))) ||
          (message.endsWith('$') && text.startsWith(message.slice(0, -1))),
      );
    expect(
      messages.filter((message) => !isListed(message) && !isListed(`${message} failed`)),
    ).toEqual([]);
  });

  it('explain every reason that the log of a login gives, and no other', () => {
    const begin = /reason|reject(ed)?\(|ignore\(|logFailure\(|log\.(fail|found|ended)\(/i;
    const given = readdirSync(`${root}/src/auth`, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .flatMap((file) => read(`src/auth/${file}`).split('\n'))
      // A live stream sends its reasons to the browser. The other line names audit rows.
      .filter((line) => begin.test(line) && !/^type End =|\[reason as string\]/.test(line))
      .flatMap((line) => [
        ...line.slice(line.search(begin)).matchAll(/(?<!=== )'([a-z]+(?:_[a-z]+)*)'/g),
      ])
      .map(([, reason]) => reason);
    const table = /## Reasons(.*?)\n## /s.exec(read('docs/what-is-logged.md'))?.[1] ?? '';
    const explained = [...table.matchAll(/^\| (`.+?`) \|/gm)].flatMap(([, cell = '']) =>
      [...cell.matchAll(/`(\w+)`/g)].map(([, reason]) => reason),
    );
    expect(new Set(given)).toEqual(new Set(explained));
  });

  it('name every member of a strategy and of what it gets', () => {
    const source = read('src/auth/strategies/strategy.ts');
    const page = read('docs/write-a-strategy.md');
    const members = [
      ...['StrategyExtras', 'AuthStrategy', 'RedirectStrategy', 'RequestStrategy'],
      ...['StrategyParts', 'RedirectAttempt', 'AuthContext'],
    ].flatMap((name) => {
      const [, body = ''] =
        new RegExp(`export interface ${name}\\b.*? \\{\\n(.*?)\\n\\}`, 's').exec(source) ?? [];
      return [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??[:(]/gm)].map(([, member]) => member);
    });
    expect(members.length).toBeGreaterThan(30);
    expect(members.filter((member) => !new RegExp(`\`(\\w+\\.)?${member}\\b`).test(page))).toEqual(
      [],
    );
  });

  it('explain every error code and no other', () => {
    const explained = [...read('docs/errors.md').matchAll(/^\| `([A-Z_]+)`/gm)].map(
      ([, code]) => code,
    );
    expect(explained.sort()).toEqual([...errorCodes].sort());
  });
});
