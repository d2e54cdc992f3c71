import type { LogLine } from '../../../client/client.js';
import { timeZone } from '../../kit/clock.js';
import { preciseTime } from '../../kit/formats.js';

/** A line of a log: its time, level and message. */
export function LogLineRow({ line }: { line: LogLine }) {
  return (
    <div class={`line ${line.level}`}>
      {line.at !== null && <time dateTime={line.at}>{preciseTime(line.at, timeZone.value)}</time>}{' '}
      <span class="level">{line.level}</span> {line.message}
      {line.fields && <span class="faint"> {JSON.stringify(line.fields)}</span>}
      {line.late && <span class="pill">late</span>}
    </div>
  );
}
