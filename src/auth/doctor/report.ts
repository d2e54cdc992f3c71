import type { Finding } from '../strategies/command-port.js';
import type { StrategyKind } from '../strategies/strategy.js';

/** The findings about one part of a login. */
export interface Section {
  /** What the findings are about: `login`, `url`, or the name of a strategy. */
  readonly name: string;
  /** The kind of the strategy, and what the login page calls it. */
  readonly kind?: StrategyKind | undefined;
  readonly label?: string | undefined;
  readonly findings: readonly Finding[];
}

/** All findings about a login. */
export interface Report {
  readonly faults: number;
  readonly warnings: number;
  readonly sections: readonly Section[];
}

/** Counts the findings of all sections. */
export function reportOf(sections: readonly Section[]): Report {
  const marks = sections.flatMap(({ findings }) => findings.map(({ mark }) => mark));
  const count = (wanted: Finding['mark']): number => marks.filter((mark) => mark === wanted).length;
  return { faults: count('fault'), warnings: count('warning'), sections };
}

/** Returns the text that a terminal shows. */
export function textOf({ faults, warnings, sections }: Report): string {
  const width = Math.max(
    ...sections.flatMap(({ findings }) => findings.map(({ what }) => what.length)),
  );
  const indent = ' '.repeat(10);
  const lineOf = (finding: Finding): string => {
    const { mark, what, found } = finding;
    const todo = finding.mark === 'ok' ? '' : `\n${indent}→ ${finding.todo}`;
    return `  ${mark.padEnd(8)}${what.padEnd(width + 2)}${found}${todo}\n`;
  };
  const titleOf = ({ name, kind, label }: Section): string =>
    kind === undefined ? name : `${name} (${kind}${label === name ? '' : `, "${label}"`})`;
  const parts = sections.map(
    (section) => `${titleOf(section)}\n${section.findings.map(lineOf).join('')}`,
  );
  const sum = `${counted(faults, 'fault')}, ${counted(warnings, 'warning')}`;
  return `${parts.join('\n')}\n${sum}\n`;
}

function counted(n: number, one: string): string {
  return `${n} ${one}${n === 1 ? '' : 's'}`;
}
