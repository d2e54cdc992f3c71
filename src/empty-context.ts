/*
 * Requests share work: one batch stores the tasks of many requests, and one timer serves all of
 * them. Node starts such work in the AsyncLocalStorage context of the request that triggered it. In
 * that context, the app's code would see the user, the tenant and the trace of another request, and
 * a timer would keep that request in memory. Shared work therefore starts in an empty context. So
 * does the first import of a module, because Node keeps the context of the request that imported
 * it. Code cannot leave its context, so this module keeps a resource with an empty context and
 * enters that.
 */
import { AsyncResource } from 'node:async_hooks';

/** Creates a resource that keeps the context of its creation. */
function createResource(): AsyncResource {
  return new AsyncResource('koa-taskflow', { requireManualDestroy: true });
}

/** The properties in which Node 20 to 26 keep the context of a resource. */
const contextKeys = new Set(['kResourceStore', 'context_frame', 'kAsyncLocalStorageContext']);

/**
 * Creates a resource with an empty context. An app may load this module while it handles a request.
 * The resource would then keep the context of that request for as long as the process runs, so that
 * context is removed.
 */
function createEmpty(): AsyncResource {
  const resource = createResource();
  for (const key of Object.getOwnPropertySymbols(resource)) {
    if (contextKeys.has(key.description ?? '')) Reflect.set(resource, key, undefined);
  }
  return resource;
}

const empty = createEmpty();

/**
 * Calls a function in an empty AsyncLocalStorage context and returns its result. Promises and
 * timers that the function creates also have the empty context.
 *
 * Each call gets its own resource. Before Node 24, `enterWith` writes into the current resource,
 * and a later call would find that value.
 */
export function runInEmptyContext<T>(call: () => T): T {
  return empty.runInAsyncScope(createResource).runInAsyncScope(call);
}
