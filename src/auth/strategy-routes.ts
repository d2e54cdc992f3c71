import { TaskflowError } from '../errors.js';
import { answerOf, type LoginRoute, strategyListSchema, strategySchema } from './openapi.js';
import type { Health } from './strategies/health.js';

/** Returns the rows of the routes by which administrators see whether the strategies answer. */
export function strategyRoutes({ all, check }: Pick<Health, 'all' | 'check'>): LoginRoute[] {
  return [
    {
      method: 'GET',
      path: '/auth/strategies',
      requiredRole: 'admin',
      handler: async (ctx) => {
        ctx.body = { items: await all() };
      },
      operation: {
        id: 'listStrategies',
        summary: 'The strategies of the login, and whether they answer',
        answers: { 200: answerOf('The strategies', strategyListSchema) },
      },
    },
    {
      method: 'POST',
      path: '/auth/strategies/:name/check',
      requiredRole: 'admin',
      handler: async (ctx, { params: { name = '' } }) => {
        const health = await check(name);
        if (!health) throw new TaskflowError('NOT_FOUND', 'There is no such strategy.');
        ctx.body = health;
      },
      operation: {
        id: 'checkStrategy',
        summary: 'Asks a strategy now whether it answers',
        answers: { 200: answerOf('The strategy', strategySchema) },
        errors: { 400: 'The request is not valid', 404: 'There is no such strategy' },
      },
    },
  ];
}
