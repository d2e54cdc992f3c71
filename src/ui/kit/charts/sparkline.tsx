/** A line chart without axes. The text beside it names the values. */
export function Sparkline({ values, tone }: { values: readonly number[]; tone: string }) {
  const max = Math.max(1, ...values);
  const step = values.length > 1 ? 100 / (values.length - 1) : 100;
  const points = values.map(
    (value, n) => `${(n * step).toFixed(1)},${(22 - (value / max) * 20).toFixed(1)}`,
  );
  return (
    <svg
      class={`sparkline ${tone}`}
      viewBox="0 0 100 24"
      preserveAspectRatio="none"
      aria-hidden="true"
    >
      <polygon points={`0,24 ${points.join(' ')} 100,24`} />
      <polyline points={points.join(' ')} />
    </svg>
  );
}
