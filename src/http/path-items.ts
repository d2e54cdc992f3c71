import type { Route } from './routes.js';

/** A route, and its operation of an OpenAPI document. */
interface Described extends Pick<Route, 'method' | 'path'> {
  operation: object;
}

/** Returns the path items of an OpenAPI document for routes below a prefix, such as `/tasks`. */
export function pathItems(
  mount: string,
  routes: readonly Described[],
): Record<string, Record<string, object>> {
  const items: Record<string, Record<string, object>> = {};
  for (const { method, path, operation } of routes) {
    const full = mount + path.replace(/:(\w+)/g, '{$1}') || '/';
    items[full] = { ...items[full], [method.toLowerCase()]: operation };
  }
  return items;
}

/** Returns the parameters of a path, as an OpenAPI document describes them. */
export function pathParameters(path: string): object[] {
  return [...path.matchAll(/:(\w+)/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
}
