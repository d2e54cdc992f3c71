import type { RequestInfo } from './request-info.js';
import type { Device } from './sessions/device-cookies.js';

/** The data of a login request. The route reads it once. */
export interface LoginAttempt {
  /** Name and password exactly as the user typed them. */
  readonly username: string;
  readonly password: string;
  /**
   * The only strategy to ask; `undefined` for all strategies, in the order of their registration.
   */
  readonly strategy: string | undefined;
  /** How the credentials were sent. */
  readonly via: 'form' | 'json';
  readonly request: RequestInfo;
  /** The device in the device cookie of the request; `undefined` without a valid cookie. */
  readonly device: Device | undefined;
  /** The session tokens of the request, which are not checked yet. */
  readonly tokens: readonly string[];
  /** The name of the session cookie in the response. */
  readonly cookieName: string;
}
