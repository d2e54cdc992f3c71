import { type Named, type OptionsOf, optionSet, type SettingsOf, text } from '../option-set.js';

const line = (text_: string) => text({ default: text_, maxLength: 500 });

/** The texts of the login page. `{method}`, `{user}`, `{seconds}` and `{time}` stand for values. */
export const messageOptions = optionSet({
  /** The language of the texts, as in the attribute `lang`. */
  language: text({
    default: 'en',
    pattern: /^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$/,
    accepted: "a language tag, such as 'de' or 'pt-BR'",
  }),
  /** The heading of the browser's tab and the label of the button. */
  signIn: line('Sign in'),
  /** The label of the field. */
  username: line('User name'),
  /** The label of the field. */
  password: line('Password'),
  /** The label of the list of password strategies. */
  strategy: line('Sign-in method'),
  /** The first item of the list of password strategies. */
  anyStrategy: line('Any method'),
  /** The link to a provider. */
  signInWith: line('Sign in with {method}'),
  /** The text between the form and the links to providers. */
  or: line('or'),
  /** The link to `passwordHelp`. */
  passwordHelp: line('Forgot your password?'),
  /** Precedes an error in the title of the page. */
  error: line('Error'),
  /** A session was ended. */
  sessionEnded: line('Your session was ended. Sign in again to continue.'),
  /** A session has expired. */
  sessionExpired: line('Your session has expired. Sign in again to continue.'),
  /** Wrong name or password, or any other reason to reject a login with a password. */
  wrongCredentials: line('Invalid username or password.'),
  /** Too many attempts. Default: an English text, with `{seconds}` rounded up to minutes. */
  tooManyAttempts: text({ maxLength: 500 }),
  /** The form was requested, but no strategy checks a password. */
  noForm: line('You cannot sign in with a password here.'),
  /** No strategy of the login has a sign-in: each one identifies requests by what they contain. */
  onlyRequests: line(
    'You cannot sign in on this page. A proxy or a token identifies the users of this site, and ' +
      'this request has neither.',
  ),
  /** The provider rejected the sign-in, or its answer was not valid. */
  rejected: line('Sign-in with {method} failed. Try again.'),
  /** The browser has no attempt that belongs to the callback. */
  noAttempt: line(
    'This sign-in was started in another browser or at another address of this site, took longer ' +
      'than 10 minutes, or has already been completed. Try again.',
  ),
  /** The provider does not answer. */
  unavailable: line(
    '{method} is not available right now. Try again later, or sign in another way.',
  ),
  /** A way to sign in does not answer. `{time}` is in UTC. */
  notAnswering: line('{method} has not answered since {time}.'),
  /** No role lets the user in. */
  noRole: line(
    'You are signed in to {method} as {user}, but this account does not have access here, ' +
      'because the option roles gives it no role. Ask an administrator of this site, or sign in ' +
      'with another account.',
  ),
  /** The account has no name. */
  noName: line(
    'Your {method} account has no usable name. Ask an administrator of this site to set the ' +
      'option username.',
  ),
  /** The provider left out the groups, because there are too many. */
  tooManyGroups: line(
    'Your {method} account has more groups than {method} can send. Ask an administrator of this ' +
      'site to assign groups to the application, or to use app roles.',
  ),
  /** The name belongs to another account of the provider. */
  nameTaken: line(
    'The name {user} belongs to another {method} account. Ask an administrator of this site.',
  ),
  /** The link with which a user signs out of the provider. */
  leave: line('Sign out of {method}'),
  /** The heading of the page in the tab where the user signed in to continue in another tab. */
  signedIn: line('You are signed in'),
  /** The text of that page. */
  closeTab: line('You can close this tab. Continue in the other tab.'),
  /** The heading after a sign-out. */
  signedOut: line('You are signed out'),
  /** After a sign-out, while the browser continues to the provider. */
  leaving: line('You are signed out here. Continue to sign out of {method}.'),
  /** After a sign-out, if the user does not sign out of the provider, too. */
  stillSignedIn: line('You may still be signed in to {method}.'),
  /** The link to the page that follows a login. */
  goOn: line('Continue'),
});

/** Texts of the login page that replace the English ones. */
export interface LoginMessages extends OptionsOf<typeof messageOptions>, Named {}

/** All texts of the login page. */
export type Messages = SettingsOf<typeof messageOptions>;

/** Returns a text with its values. */
export function filled(message: string, values: Readonly<Record<string, string>>): string {
  return message.replace(/\{(\w+)\}/g, (whole, name: string) => values[name] ?? whole);
}
