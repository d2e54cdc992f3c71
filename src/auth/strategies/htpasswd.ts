import { resolve } from 'node:path';
import type { Role } from '../../http/access.js';
import { type Logger, typeError, wrongType } from '../../options.js';
import { optionsObject } from '../../options-object.js';
import { type PaddedChecks, paddedChecks } from '../passwords/padding.js';
import { type FollowedFile, followFile } from '../secrets/followed-secret.js';
import type { FileRules } from '../secrets/secret-source.js';
import { fault, ok, warning } from './finding.js';
import { type HtpasswdContent, type Problem, parseHtpasswd } from './htpasswd-lines.js';
import { type RolesRule, rolesRule } from './roles.js';
import type { AuthStrategy, KnownUser } from './strategy.js';

/** Options of {@link htpasswdFile}. */
export interface HtpasswdOptions {
  /**
   * The roles of the users: a list for all users, a table by user name, or a function. With a table
   * without `otherwise`, users without a row cannot sign in. Default `[]`: the users may only read.
   */
  roles?: RolesRule<{ readonly username: string }> | undefined;
}

/** The users of a file, and how their passwords are checked. */
interface Users extends HtpasswdContent {
  /** Absent if no user can sign in. */
  checks: PaddedChecks | undefined;
}

const renew = 'replace them with: htpasswd -B -C 12';

/** The log line about each problem. */
const messages: Readonly<Record<Problem, string>> = {
  format:
    'hashes of the htpasswd file are neither bcrypt nor argon2id, so their users cannot sign in; ' +
    renew,
  damaged: `hashes of the htpasswd file are incomplete, so their users cannot sign in; ${renew}`,
  costly: `hashes of the htpasswd file cost too much, so their users cannot sign in; ${renew}`,
  name:
    'names of the htpasswd file are not 1 to 256 printable characters in UTF-8, so their users ' +
    'cannot sign in',
  repeated: 'names of the htpasswd file are repeated; only the first line of each name counts',
  weak: `hashes of the htpasswd file are weak; ${renew}`,
};

/**
 * Makes a strategy for the users of an htpasswd file with bcrypt or argon2id hashes. A change of
 * the file takes effect within a second and ends the sessions of removed users and of users with a
 * new hash. If the new file is missing, empty or damaged, the last valid users stay.
 *
 * @param path Path of the file, relative to the working folder of the process.
 * @throws TypeError if the file is missing, empty or damaged, if the package for its hashes is not
 * installed, or if an option is wrong. RangeError if a value of an option is not accepted.
 * @example
 * ```ts
 * const auth = createAuth({
 *   strategies: htpasswdFile('/etc/jobs/users.htpasswd', { roles: ['operator'] }),
 *   secretKey: process.env.TASKFLOW_SECRET_KEY,
 * });
 * ```
 */
export function htpasswdFile(path: string, options?: HtpasswdOptions): AuthStrategy {
  if (typeof path !== 'string' || path === '')
    throw wrongType('htpasswdFile: path', path, 'the path of a file');
  const { roles } = optionsObject<HtpasswdOptions>('htpasswdFile', options, ['roles']);
  const rolesOf = rolesRule('htpasswdFile: roles', roles, {
    from: 'username',
    lists: ['username'],
  });
  const find = (username: string) => rolesOf({ user: { username }, listOf: () => [username] });
  // A later change of the working directory has no effect on the path.
  const absolute = resolve(path);
  const file = followUsers(absolute);
  let logger: Logger | undefined;
  const logProblems = ({ problems }: Users): void => {
    for (const [problem, lines] of problems)
      logger?.warn(
        { file: absolute, lines: lines.slice(0, 20), count: lines.length },
        messages[problem],
      );
  };

  return {
    local: true,
    doctor() {
      const { users, problems } = file.value;
      return [
        users.size > 0
          ? ok('file', `${absolute} is readable; users: ${users.size}`)
          : fault('file', `${absolute} has no user who can sign in`, 'see the warnings below'),
        ...[...problems].map(([problem, lines]) =>
          warning(
            'file',
            messages[problem],
            `correct ${lines.length === 1 ? 'line' : 'lines'} ${lines.slice(0, 20).join(', ')}`,
          ),
        ),
      ];
    },
    attach(parts) {
      logger = parts.logger;
      file.logTo(logger);
      logProblems(file.value);
      file.onChange((users) => {
        logProblems(users);
        parts.usersChanged();
      });
    },
    async authenticate_user(username, password, context) {
      const { users, checks } = file.value;
      const user = users.get(username);
      const same = await checks?.matches(user?.password, password, context);
      if (!same) return false;
      const roles = await find(username);
      return roles === false ? { ok: false, reason: 'no_role' } : { ok: true, roles };
    },
    find_user(username, { only }) {
      const user = file.value.users.get(username);
      if (!user) return undefined;
      if (only === 'version') return { version: user.hash };
      const known = (roles: readonly Role[] | false): KnownUser | undefined =>
        roles === false ? undefined : { version: user.hash, roles };
      const roles = find(username);
      return roles instanceof Promise ? roles.then(known) : known(roles);
    },
  };
}

const rules: FileRules = {
  maxBytes: 16 * 2 ** 20,
  // The bytes are kept, because a name that is not UTF-8 refuses only its own user.
  textOf: (_what, content) => content.toString('latin1'),
};

/** Reads the users of a file and follows its changes. */
function followUsers(path: string): FollowedFile<Users> {
  try {
    return followFile(path, {
      ...{ option: 'htpasswdFile: the htpasswd file', rules },
      read: (text) => readUsers(Buffer.from(text, 'latin1')),
      lines: {
        fields: { file: path },
        changed: 'the htpasswd file was read again',
        failed: 'the htpasswd file cannot be used, so its last valid content still counts',
        works: 'the htpasswd file can be used again',
        describe: ({ users }) => ({ users: users.size }),
      },
    });
  } catch (cause) {
    const { code, message } = cause as { code?: unknown; message: string };
    if (code === 'INVALID_INPUT') throw cause;
    throw typeError(`htpasswdFile: the htpasswd file '${path}' cannot be used: ${message}`, {
      cause,
    });
  }
}

function readUsers(content: Buffer): Users {
  const found = parseHtpasswd(content);
  const passwords = [...found.users.values()].map(({ password }) => password);
  return { ...found, checks: passwords.length === 0 ? undefined : paddedChecks(passwords) };
}
