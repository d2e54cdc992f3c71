import { Writable } from 'node:stream';
import { pino } from 'pino';
import { searchForCanaries } from './canaries.js';
import { waitFor } from './wait.js';

/** Makes a real pino logger that keeps its lines. */
export function recordingLogger() {
  const lines: Record<string, unknown>[] = [];
  let text = '';
  const stream = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      searchForCanaries(String(chunk), 'a log line');
      lines.push(JSON.parse(String(chunk)) as Record<string, unknown>);
      done();
    },
  });
  const events = (name: string) => lines.filter((line) => line.event === name);
  return {
    logger: pino({ level: 'trace' }, stream),
    lines,
    text: () => text,
    events,
    /**
     * Waits for a number of events and returns them. A failed login is logged in the background,
     * sometimes after its response.
     */
    logged: (name: string, count: number) =>
      waitFor(() => {
        const found = events(name);
        return found.length >= count && found;
      }),
  };
}
