import { Writable } from 'node:stream';
import { pino } from 'pino';
import { searchForCanaries } from './canaries.js';

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
  return {
    logger: pino({ level: 'trace' }, stream),
    lines,
    text: () => text,
    events: (name: string) => lines.filter((line) => line.event === name),
  };
}
