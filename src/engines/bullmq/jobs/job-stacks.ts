/**
 * Returns the stacks of the failed attempts, oldest first. If the text was cut, returns the first
 * lines of the first stack.
 */
export function stacksOf(stacktrace: string | undefined): string[] {
  if (!stacktrace) return [];
  try {
    const stacks: unknown = JSON.parse(stacktrace);
    return Array.isArray(stacks)
      ? stacks.filter((stack): stack is string => typeof stack === 'string')
      : [];
  } catch {
    return stacktrace.startsWith('["') ? [stacktrace.slice(2).replaceAll('\\n', '\n')] : [];
  }
}
