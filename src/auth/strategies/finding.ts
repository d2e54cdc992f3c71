import type { Finding } from './command-port.js';

/** Makes a finding that needs no action. */
export function ok(what: string, found: string): Finding {
  return { mark: 'ok', what, found };
}

/** Makes a finding about what should be changed. */
export function warning(what: string, found: string, todo: string): Finding {
  return { mark: 'warning', what, found, todo };
}

/** Makes a finding about what must be changed. */
export function fault(what: string, found: string, todo: string): Finding {
  return { mark: 'fault', what, found, todo };
}
