import type { RequestInfo } from './request-info.js';
import type { Device } from './sessions/device-cookies.js';

/** A login request, read once. */
export interface LoginAttempt {
  /** Name and password exactly as typed. */
  readonly username: string;
  readonly password: string;
  /** The one strategy to ask; `undefined` for all, in the order registered. */
  readonly strategy: string | undefined;
  /** How the credentials were sent. */
  readonly via: 'form' | 'json';
  readonly request: RequestInfo;
  /** What the device cookie of the request says; `undefined` without a valid one. */
  readonly device: Device | undefined;
  /** The session tokens that the request carries, not checked yet. */
  readonly tokens: readonly string[];
  /** The name of the session cookie in the response. */
  readonly cookieName: string;
}
