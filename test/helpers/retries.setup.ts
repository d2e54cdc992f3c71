import { jest } from '@jest/globals';

// CI runs where others may take the processors for seconds. What fails is tried once more, and what failed is printed: it may
// have been the machine, or a race that is worth a look.
if (process.env.CI === 'true') jest.retryTimes(1, { logErrorsBeforeRetry: true });
