export { type AuthOption, type TaskAdminOptions, taskAdmin } from './admin.js';
export * from './auth/index.js';
export type { StatsOptions } from './engines/stats-option.js';
export { type ErrorCode, errorCodes, TaskflowError, type TaskflowErrorOptions } from './errors.js';
export { type AdminSource, TaskManager } from './manager.js';
export type {
  EmbeddedManagerOptions,
  EngineManagerOptions,
  StartOptions,
  StopOptions,
  TaskLimits,
  TaskManagerOptions,
} from './manager-options.js';
export type { Logger } from './options.js';
export type {
  Action,
  Command as EngineCommand,
  CommandBy,
  CommandResult,
  Outcome,
} from './tasks/commands.js';
export {
  type TaskContext,
  type TaskLog,
  taskContext,
  taskLog,
  taskProgress,
} from './tasks/context.js';
export type { DeclaredTask, Enqueuer, Handler, Task } from './tasks/definition.js';
export type * from './tasks/engine.js';
export type {
  Aggregates as EngineAggregates,
  FailurePage,
  FailureQuery,
  LogQuery,
  MetricsRange,
  SortKey,
  TaskFilter,
  TaskPage,
  TaskQuery,
} from './tasks/engine-queries.js';
export type * from './tasks/function-settings.js';
export type { NewTask, Schedule, TaskClock } from './tasks/new-task.js';
export type { EnginePromises } from './tasks/promises.js';
export type * from './tasks/queue-state.js';
export type { ScheduleOptions } from './tasks/schedule.js';
export type * from './tasks/source.js';
export type { Backoff, EnqueueOptions, TaskOptions } from './tasks/task-options.js';
export type {
  AttemptIo,
  AttemptResult,
  ClaimedTask,
  NewLogLine,
  RunningAttempt,
  StoredError,
  TaskRunner,
} from './tasks/task-runner.js';
export type {
  Attempt,
  Counts,
  Durations,
  ErrorDetails,
  FailureGroup,
  LogLevel,
  LogLine,
  Metrics,
  ProcessInfo,
  Stats,
  StatsSnapshot,
  StuckAttempt,
  TaskDetail,
  TaskError,
  TaskStatus,
  TaskSummary,
} from './tasks/types.js';
export {
  type BackgroundTasks,
  type BackgroundTasksContext,
  backgroundTasks,
  backgroundTasksOf,
} from './web/background-tasks.js';
export { type DashboardOptions, dashboardRoutes } from './web/dashboard-routes.js';
export { type Emitter, emitterEvents } from './web/emitter-events.js';
export type { StreamEvent } from './web/event.js';
export type { WebOptions } from './web/options.js';
export {
  type SseStreamOptions,
  type StreamClient,
  type StreamLimits,
  type StreamSource,
  sseStream,
} from './web/sse-stream.js';
export { taskEvents } from './web/task-events.js';
export { type TaskRoutesOptions, taskRoutes } from './web/task-routes.js';
