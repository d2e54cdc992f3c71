import { signal } from '@preact/signals';
import { ProblemError } from '../../client/client.js';
import { serverNow } from '../kit/clock.js';
import { client } from '../state/bootstrap.js';
import { reloadAll } from './connection.js';

/** An outage of the tasks, or of the sessions, as the server reports it. */
interface Outage {
  /** When it was noticed, in milliseconds of the server's clock. */
  since: number;
  /** What cannot be used, in a sentence of the server. */
  why: string;
}

/** The outage that lasts now. */
export const engineAway = signal<Outage | undefined>(undefined);

/** Milliseconds between two questions whether it is back. */
const interval = 3000;

const codes = ['ENGINE_UNAVAILABLE', 'STORE_UNAVAILABLE'];

/** Notes an error that reports an outage. The page then asks until it is over, and loads what it shows again. */
export function noteEngine(error: unknown): void {
  if (!(error instanceof ProblemError) || !codes.includes(error.code) || engineAway.peek() !== undefined) return;
  engineAway.value = { since: serverNow(), why: error.message };
  const timer = setInterval(() => void ask(), interval);
  const ask = async (): Promise<void> => {
    const { ok } = await fetch(client.url('/health'), { cache: 'no-store' }).catch(() => ({ ok: false }));
    if (!ok || engineAway.peek() === undefined) return;
    clearInterval(timer);
    engineAway.value = undefined;
    reloadAll();
  };
}
