export { eventually, sleep, waitFor } from '../../src/testing/wait.js';
