import { useState } from 'preact/hooks';
import { copy } from '../../kit/copy.js';
import { PageLink } from '../../state/links.js';

/** Whether a line belongs to a package or to Node.js. Such lines say little about the cause. */
const isForeign = (line: string): boolean =>
  /^\s+at /.test(line) && /node_modules|node:internal|\(node:|at node:/.test(line);

interface Part {
  foreign: boolean;
  lines: string[];
}

/** Groups consecutive lines of a stack by whether they belong to dependencies. */
function partsOf(stack: string): Part[] {
  const parts: Part[] = [];
  for (const line of stack.split('\n')) {
    const foreign = isForeign(line);
    const last = parts.at(-1);
    if (last?.foreign === foreign) last.lines.push(line);
    else parts.push({ foreign, lines: [line] });
  }
  return parts;
}

function Stack({ stack }: { stack: string }) {
  const [raw, setRaw] = useState(false);
  const hidden = partsOf(stack).some(({ foreign }) => foreign);
  return (
    <>
      <pre class="stack" tabIndex={0}>
        {raw
          ? stack
          : partsOf(stack).map(({ foreign, lines }, n) => (
              <span key={n} class={foreign ? 'foreign' : ''}>
                {foreign
                  ? `    … ${lines.length} frame${lines.length === 1 ? '' : 's'} of dependencies`
                  : lines.join('\n')}
                {'\n'}
              </span>
            ))}
      </pre>
      <div class="actions">
        <button type="button" class="quiet" onClick={() => copy(stack, 'Stack')}>
          Copy stack
        </button>
        {hidden && (
          <button type="button" class="quiet" aria-pressed={raw} onClick={() => setRaw(!raw)}>
            All frames
          </button>
        )}
      </div>
    </>
  );
}

interface ShownError {
  name: string;
  message: string;
  code?: string;
  cause?: ErrorWithStack;
  errors?: readonly ErrorWithStack[];
  truncated?: true;
}
type ErrorWithStack = ShownError & { stack: string | null };

function Headline({ error: { name, code, message } }: { error: ShownError }) {
  return (
    <>
      <strong>{name}</strong>
      {code !== undefined && <code class="error-code">{code}</code>}: {message}
    </>
  );
}

/**
 * The cause of an error, or a member of it. Only the cause and the first member are open at first.
 */
function Related({ label, error, open }: { label: string; error: ErrorWithStack; open: boolean }) {
  return (
    <details class="related-error" open={open}>
      <summary>
        {label} <Headline error={error} />
      </summary>
      {error.stack && <Stack stack={error.stack} />}
      <RelatedErrors error={error} />
    </details>
  );
}

function RelatedErrors({ error: { cause, errors = [], truncated } }: { error: ShownError }) {
  return (
    <>
      {cause && <Related label="Caused by" error={cause} open />}
      {errors.map((member, n) => (
        <Related
          key={n}
          label={`Error ${n + 1} of ${errors.length}${truncated ? ' kept' : ''}:`}
          error={member}
          open={n === 0}
        />
      ))}
      {truncated && <p class="faint">Further causes or members of this error were not kept.</p>}
    </>
  );
}

interface ErrorProps {
  error: ShownError | null | undefined;
  stack: string | null;
  /** Fingerprint of the failure group. */
  fingerprint: string | null;
}

/** The error of a task or an attempt, with its stack and its causes. */
export function ErrorPart({ error, stack, fingerprint }: ErrorProps) {
  if (!error) return null;
  return (
    <section aria-label="Error">
      <h3>Error</h3>
      <p class="error-box">
        <Headline error={error} />
      </p>
      {fingerprint && (
        <p>
          <PageLink to={{ view: 'tasks', fingerprint }}>Tasks with this error →</PageLink>
        </p>
      )}
      {stack && <Stack stack={stack} />}
      <RelatedErrors error={error} />
    </section>
  );
}
