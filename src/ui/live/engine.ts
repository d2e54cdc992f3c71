import { signal } from '@preact/signals';
import { ProblemError } from '../../client/client.js';
import { serverNow } from '../clock.js';
import { client } from '../facts.js';
import { reloadAll } from './connection.js';

/** Since when the server says that its tasks, or its sessions, cannot be reached, in milliseconds of its clock. */
export const engineAway = signal<number | undefined>(undefined);

/** Milliseconds between two questions whether it is back. */
const interval = 3000;

const codes = ['ENGINE_UNAVAILABLE', 'STORE_UNAVAILABLE'];

/** Takes note of an error that says so: the page then asks until it is back, and loads what it shows anew. */
export function noteEngine(error: unknown): void {
  if (!(error instanceof ProblemError) || !codes.includes(error.code) || engineAway.peek() !== undefined) return;
  engineAway.value = serverNow();
  const timer = setInterval(() => void ask(), interval);
  const ask = async (): Promise<void> => {
    const { ok } = await fetch(client.url('/health'), { cache: 'no-store' }).catch(() => ({ ok: false }));
    if (!ok || engineAway.peek() === undefined) return;
    clearInterval(timer);
    engineAway.value = undefined;
    reloadAll();
  };
}
