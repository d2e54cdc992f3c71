export type {
  Access,
  Actor,
  AuditEvent,
  AuditQuery,
  LoginFacts,
  Page,
  Role,
  SignInMethod,
  StrategyHealth,
} from '../http/access.js';
export { type MemoryStoreOptions, memoryStore } from '../store/memory-store.js';
export type {
  Droppable,
  LogPage,
  SharedStore,
  StoreEntry,
  StoreValue,
  WatchOptions,
} from '../store/shared-store.js';
export type { SignedInUser } from './app-sign-in.js';
export type { Auth } from './auth.js';
export type { AuthOptions } from './auth-options.js';
export { createAuth } from './create-auth.js';
export { loginRoutes } from './login-routes.js';
export type { LoginMessages } from './messages.js';
export { type RequireAuthOptions, requireAuth } from './require-auth.js';
export { type Secret, type SecretFile, type SecretFunction, secretFile } from './secrets/secret.js';
export { type SessionState, sessionOf, sessionToken } from './session-token.js';
export type { CookieOptions } from './sessions/cookies.js';
export type { Session } from './sessions/session.js';
export { type CachedOptions, cached } from './strategies/cached.js';
export type {
  CommandExtras,
  DoctorContext,
  DryRunUser,
  Explanation,
  Finding,
  MatchingRow,
} from './strategies/command-port.js';
export type { UserEntry, UserOptions } from './strategies/configured-user.js';
export { multiUser } from './strategies/multi-user.js';
export {
  type AttemptContext,
  type Authenticated,
  type Credentials,
  type RegistryOptions,
  StrategyRegistry,
} from './strategies/registry.js';
export type { RolesRule, RolesTable } from './strategies/roles.js';
export type { Strategies } from './strategies/short-forms.js';
export { staticUser } from './strategies/static-user.js';
export type {
  AuthContext,
  AuthStrategy,
  EndedSession,
  EndedUser,
  FindUserContext,
  KnownUser,
  RedirectAttempt,
  RedirectStrategy,
  RedirectVerdict,
  Rejected,
  RejectedPage,
  RequestStrategy,
  Strategy,
  StrategyExtras,
  StrategyKind,
  StrategyParts,
  StrategyStore,
  Verdict,
} from './strategies/strategy.js';
export type { ThrottleOptions } from './throttle/limits.js';
