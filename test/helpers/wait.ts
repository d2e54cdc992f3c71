export { eventually, gate, sleep, waitFor } from '../../src/testing/wait.js';
