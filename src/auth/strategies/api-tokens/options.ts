import type { Role } from '../../../http/access.js';
import {
  type Named,
  number,
  type OptionsOf,
  optionSet,
  type SettingsOf,
  seconds,
  text,
} from '../../../option-set.js';
import { outOfRange, rangeError, tenYears, wrongType } from '../../../options.js';
import type { NewToken } from '../token-issuer.js';
import { isUserName, rolesOption } from '../user-fields.js';

const day = 86_400;

const tokensOptions = optionSet({
  /**
   * The text with which each token begins: up to 15 lower-case letters and digits, a letter first,
   * and `_`. Default `tf_`.
   */
  prefix: text({
    default: 'tf_',
    pattern: /^[a-z][a-z0-9]{0,14}_$/,
    accepted: "up to 15 lower-case letters and digits, a letter first, and '_', such as 'tf_'",
  }),
  /** Seconds that a token may last at most. Default 7,776,000, which is 90 days. */
  maxAge: number({ default: 90 * day, min: 60, max: tenYears, unit: 'seconds' }),
});

/** Options of `apiTokens`. */
export interface ApiTokensOptions extends OptionsOf<typeof tokensOptions>, Named {}

/** The checked options. */
export type ApiTokensSettings = Readonly<SettingsOf<typeof tokensOptions>>;

/** Checks the options. Throws a TypeError or RangeError for a wrong or unknown option. */
export function readOptions(options: ApiTokensOptions | undefined): ApiTokensSettings {
  return tokensOptions.read(options, { where: 'apiTokens', prefix: 'apiTokens: ' });
}

const service = 'service';

/** Whether an owner is a service. */
export function isService(owner: string): boolean {
  return owner.startsWith(`${service}:`);
}

/** Splits an owner into the strategy and the name of the user. */
export function splitOwner(owner: string): { strategy: string; username: string } {
  const at = owner.indexOf(':');
  return { strategy: owner.slice(0, at), username: owner.slice(at + 1) };
}

/** Checks the members of a new token. `own` is the name of the strategy that issues it. */
export function readNewToken(
  token: NewToken,
  { maxAge }: ApiTokensSettings,
  own: string,
): { name: string; owner: string; roles: readonly Role[]; expiresIn: number | undefined } {
  const { name, owner, roles, expiresIn } = optionSet({
    name: (option, value: string | undefined) => {
      if (!isUserName(value) || value.length > 100)
        throw wrongType(option, value, 'a string of 1 to 100 printable characters');
      return value;
    },
    owner: (option, value: string | undefined) => ownerOption(option, value, own),
    roles: (option, value: readonly Role[] | undefined) => rolesOption(option, value) ?? [],
    expiresIn: number({ min: 60, max: maxAge, unit: 'seconds' }),
  }).read(token, { where: 'create' });
  if (isService(owner) && roles.includes('admin'))
    throw rangeError("roles contains 'admin', which a token of a service cannot have");
  return { name, owner, roles, expiresIn };
}

function ownerOption(option: string, value: string | undefined, own: string): string {
  const accepted = "'STRATEGY:USERNAME' or 'service:NAME', at most 256 printable characters";
  if (!isUserName(value) || !/^[A-Za-z0-9][\w.-]*:./su.test(value))
    throw wrongType(option, value, accepted);
  if (value.startsWith(`${own}:`))
    throw outOfRange(option, value, `${accepted}, but not the user of a token`);
  return value;
}

const rotation = optionSet({
  keepOldFor: seconds({ default: 0, zero: true, max: day }),
});

/** Checks the options of a rotation. */
export function readRotation(options: OptionsOf<typeof rotation>): SettingsOf<typeof rotation> {
  return rotation.read(options, { where: 'rotate' });
}
