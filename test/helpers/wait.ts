export { sleep, waitFor } from '../../src/testing/wait.js';
