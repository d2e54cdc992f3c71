import type { DoctorContext, Finding } from '../strategies/command-port.js';
import { fault, ok } from '../strategies/finding.js';
import type { StrategyRegistry } from '../strategies/registry.js';
import { kindsOf, type Strategy } from '../strategies/strategy.js';
import type { Section } from './report.js';

/** Returns a strategy by its name. Throws an error with all names if no strategy has this name. */
export function strategyOf(registry: StrategyRegistry, name: string): Strategy {
  const strategy = registry.get(name);
  if (strategy) return strategy;
  throw new Error(`there is no strategy '${name}'; use one of ${registry.names().join(', ')}`);
}

/** Asks each of these strategies what `doctor` must know. */
export function strategyFindings(
  registry: StrategyRegistry,
  names: readonly string[],
  urlOf: DoctorContext['urlOf'],
): Promise<readonly Section[]> {
  return Promise.all(
    names.map(async (name): Promise<Section> => {
      const strategy = strategyOf(registry, name);
      const [kind] = kindsOf(strategy);
      const { label = name } = strategy;
      const checked = await checkFindings(registry, strategy);
      const own = await ownFindings(registry, strategy, { name, urlOf });
      // If the check fails, the faults of the strategy itself say more about the cause.
      const isExplained = own.some(({ mark }) => mark === 'fault');
      const findings = [...checked.filter(({ mark }) => mark === 'ok' || !isExplained), ...own];
      return {
        ...{ name, kind, label },
        findings: findings.length > 0 ? findings : [ok('check', 'nothing to check')],
      };
    }),
  );
}

async function checkFindings(registry: StrategyRegistry, strategy: Strategy): Promise<Finding[]> {
  if (!strategy.check) return [];
  const started = performance.now();
  const time = (): string => `after ${Math.ceil(performance.now() - started)} ms`;
  try {
    await registry.call(strategy, (signal) => strategy.check?.(signal));
    return [ok('check', `answers ${time()}`)];
  } catch (error) {
    return [fault('check', `fails ${time()}: ${messageOf(error)}`, reach)];
  }
}

const reach = 'start the server that the strategy uses, and check its address';

async function ownFindings(
  registry: StrategyRegistry,
  strategy: Strategy,
  context: Omit<DoctorContext, 'signal'>,
): Promise<readonly Finding[]> {
  if (!strategy.doctor) return [];
  try {
    const found: unknown = await registry.call(strategy, (signal) =>
      strategy.doctor?.({ ...context, signal }),
    );
    if (Array.isArray(found) && found.every(isFinding)) return found;
    const todo = 'return objects with mark, what, found, and todo for a warning or a fault';
    return [fault('doctor', 'the method did not return a list of findings', todo)];
  } catch (error) {
    return [fault('check', `fails: ${messageOf(error)}`, reach)];
  }
}

function isFinding(value: unknown): value is Finding {
  const { mark, what, found, todo } = (value ?? {}) as Partial<Record<string, unknown>>;
  const isText = typeof what === 'string' && typeof found === 'string';
  if (mark === 'ok') return isText;
  return isText && (mark === 'warning' || mark === 'fault') && typeof todo === 'string';
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown error';
}
