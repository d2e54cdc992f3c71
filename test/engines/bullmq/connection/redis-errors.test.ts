import { describe, expect, it } from '@jest/globals';
import { hadNoEffect } from '../../../../src/engines/bullmq/connection/connections.js';
import { hasCode, type RedisCode } from '../../../../src/engines/bullmq/connection/redis-errors.js';

const sha = '6b1bf486c81ceb7edf3c093f4c48582e38c0e791';
/** How Redis 6 begins the error of a script. */
const failed = `ERR Error running script (call to f_${sha}): @user_script:12:`;
const texts: readonly [code: RedisCode, text: string][] = [
  ['WRONGTYPE', 'Operation against a key holding the wrong kind of value'],
  ['READONLY', "You can't write against a read only replica."],
  ['OOM', "command not allowed when used memory > 'maxmemory'."],
  ['MISCONF', 'Redis is configured to save RDB snapshots, but it is currently unable to persist'],
  ['NOREPLICAS', 'Not enough good replicas to write.'],
  ['NOPERM', "this user has no permissions to run the 'hset' command"],
  ['LOADING', 'Redis is loading the dataset in memory'],
  ['BUSY', 'Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.'],
  ['NOSCRIPT', 'No matching script. Please use EVAL.'],
  ['NOAUTH', 'Authentication required.'],
];
const reply = (message: string): Error => Object.assign(new Error(message), { name: 'ReplyError' });

describe('the code of an error of Redis', () => {
  it.each(texts)('%s is found in every wording', (code, text) => {
    const wordings = [
      `${code} ${text}`,
      `-${code} ${text}`,
      `${code} ${text} script: ${sha}, on @user_script:12.`,
      `${failed} @user_script: 12: ${code} ${text}`,
      `${failed} @user_script: 12: -${code} ${text}`,
      `@user_script: 12: -${code} ${text}`,
      `${failed} ${code} ${text}`,
      `${failed} user_script:3: @user_script: 3: ${code} ${text}`,
    ];
    const others = texts.flatMap(([each]) => (each === code ? [] : [each]));
    for (const wording of wordings) {
      expect([wording, hasCode(reply(wording), code)]).toEqual([wording, true]);
      expect([wording, hasCode(reply(wording), ...others)]).toEqual([wording, false]);
      const aborted = Object.assign(
        reply('EXECABORT Transaction discarded because of previous errors.'),
        { previousErrors: [reply(wording)] },
      );
      expect([wording, hasCode(aborted, code)]).toEqual([wording, true]);
      expect([wording, hasCode(aborted, 'EXECABORT')]).toEqual([wording, true]);
    }
  });

  it('is found in the wordings of a missing permission in a script', () => {
    const denied = "The user executing the script can't";
    for (const wording of [
      `${denied} run this command or subcommand`,
      `ERR ${denied} run this command or subcommand script: ${sha}, on @user_script:1.`,
      `${failed} @user_script: 1: ${denied} access at least one of the keys mentioned`,
      "NOPERM ACL failure in script: User app has no permissions to run the 'set' command",
    ]) {
      expect([wording, hasCode(reply(wording), 'NOPERM')]).toEqual([wording, true]);
      // The script may have changed something before this command.
      expect([wording, hadNoEffect(reply(wording))]).toEqual([wording, false]);
    }
    expect(hadNoEffect(reply("NOPERM User app has no permissions to run the 'set' command"))).toBe(
      true,
    );
  });

  it('is not found in the text of another error, or in an error that Redis did not answer', () => {
    for (const error of [
      reply('ERR the key READONLY is OOM'),
      reply('ERR WRONGTYPE'),
      reply('WRONGTYPES of a kind'),
      new Error('WRONGTYPE Operation'),
      'OOM',
      undefined,
      null,
    ])
      for (const [code] of texts)
        expect([error, code, hasCode(error, code)]).toEqual([error, code, false]);
  });
});
