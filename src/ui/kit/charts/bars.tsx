import type { TargetedPointerEvent } from 'preact';
import { useState } from 'preact/hooks';
import { now, timeZone } from '../clock.js';
import { axisTime, fullTime, plural } from '../formats.js';

/** The outcomes of one interval. */
export interface Bar {
  at: string;
  success: number;
  failed: number;
  p95: number | null;
}

const [width, height] = [600, 120];

/**
 * Shows outcomes over time, one bar per interval. A bar links to its tasks. If the user drags over
 * several bars, the page opens the tasks of all of them. Screen readers announce the sums of each
 * bar.
 */
export function OutcomeBars({
  bars,
  step,
  href,
  choose,
}: {
  bars: readonly Bar[];
  step: number;
  href: (first: Bar, last: Bar) => string;
  choose: (first: Bar, last: Bar) => void;
}) {
  /** The range from the bar where the user pressed the mouse to the bar under the pointer. */
  const [drawn, setDrawn] = useState<{ from: number; to: number }>();
  const max = Math.max(1, ...bars.map(({ success, failed }) => success + failed));
  const slot = width / Math.max(1, bars.length);
  const scale = (n: number): number => (n === 0 ? 0 : Math.max(2, (n / max) * (height - 6)));
  const barAt = (event: TargetedPointerEvent<SVGSVGElement>): number => {
    const { left, width: wide } = event.currentTarget.getBoundingClientRect();
    return Math.max(
      0,
      Math.min(bars.length - 1, Math.floor(((event.clientX - left) / wide) * bars.length)),
    );
  };
  const zone = timeZone.value;
  const withDay = bars.length * step > 86_400;
  const marks = [0, 0.25, 0.5, 0.75]
    .map((share) => bars[Math.floor(share * bars.length)])
    .filter((bar) => bar !== undefined);
  return (
    <figure class="bars">
      <span class="bars-max faint">{plural(max, 'task')}</span>
      <svg
        viewBox={`0 0 ${width} ${height}`}
        preserveAspectRatio="none"
        aria-label="Tasks that ended, by outcome"
        onDragStart={(event) => event.preventDefault()}
        onPointerDown={(event) => {
          if (event.button === 0 && event.pointerType === 'mouse')
            setDrawn({ from: barAt(event), to: barAt(event) });
        }}
        onPointerMove={(event) => {
          const to = barAt(event);
          if (!drawn || to === drawn.to) return;
          // After a drag, the chart gets the click event instead of a bar, so that no link opens.
          event.currentTarget.setPointerCapture(event.pointerId);
          setDrawn({ ...drawn, to });
        }}
        onPointerUp={(event) => {
          setDrawn(undefined);
          if (!drawn || !event.currentTarget.hasPointerCapture(event.pointerId)) return;
          const [first, last] = [
            bars[Math.min(drawn.from, drawn.to)],
            bars[Math.max(drawn.from, drawn.to)],
          ];
          if (first && last) choose(first, last);
        }}
        onPointerCancel={() => setDrawn(undefined)}
      >
        {drawn && drawn.from !== drawn.to && (
          <rect
            class="drawn"
            x={Math.min(drawn.from, drawn.to) * slot}
            y="0"
            width={(Math.abs(drawn.to - drawn.from) + 1) * slot}
            height={height}
          />
        )}
        <line x1="0" x2={width} y1={height - 0.5} y2={height - 0.5} />
        {bars.map((bar, n) => {
          const failed = scale(bar.failed);
          const success = scale(bar.success);
          if (failed + success === 0) return null;
          const label = `${fullTime(bar.at, zone)}: ${bar.success} succeeded, ${bar.failed} failed`;
          return (
            <a
              key={bar.at}
              href={href(bar, bar)}
              aria-label={label}
              onClick={(event) => {
                if (event.metaKey || event.ctrlKey || event.shiftKey) return;
                event.preventDefault();
                choose(bar, bar);
              }}
            >
              <title>{label}</title>
              <rect class="hit" x={n * slot} y="0" width={slot} height={height} />
              <rect
                class="bar-success"
                x={n * slot + slot * 0.12}
                width={slot * 0.76}
                y={height - success}
                height={success}
              />
              <rect
                class="bar-failed"
                x={n * slot + slot * 0.12}
                width={slot * 0.76}
                y={height - success - failed}
                height={failed}
              />
            </a>
          );
        })}
      </svg>
      <figcaption class="faint">
        {marks.map(({ at }) => (
          <span key={at}>{axisTime(at, zone, withDay)}</span>
        ))}
        <span>now</span>
      </figcaption>
    </figure>
  );
}

/** Returns the bars of a range, including intervals without a task. */
export function fill(series: readonly Bar[], seconds: number, step: number): Bar[] {
  const size = step * 1000;
  const byTime = new Map(series.map((bar) => [Math.floor(Date.parse(bar.at) / size), bar]));
  const last = Math.floor(now.peek() / size);
  const n = Math.round(seconds / step);
  return Array.from({ length: n }, (_, index) => {
    const at = last - n + 1 + index;
    return (
      byTime.get(at) ?? { at: new Date(at * size).toISOString(), success: 0, failed: 0, p95: null }
    );
  });
}
