import type { LogLine } from '../../../client/client.js';
import { timeZone } from '../../kit/clock.js';
import { preciseTime } from '../../kit/formats.js';

/** A line of a log: its time, level and message. */
export function LogLineRow({ line }: { line: LogLine }) {
  const { at } = line;
  return (
    <div class={`line ${line.level}`}>
      {at !== null && <time dateTime={at}>{preciseTime(at, timeZone.value)}</time>}{' '}
      <span class="level">{line.level}</span> {line.message}
      {line.fields && <span class="faint"> {JSON.stringify(line.fields)}</span>}
      {line.late && <span class="pill">late</span>}
    </div>
  );
}
