import { render } from 'preact';
import { titleTimes } from './kit/time.js';
import { startStream } from './live/connection.js';
import { watchTask } from './pages/task/opened.js';
import { watchList } from './pages/task-list/list.js';
import { App } from './shell/frame.js';
import { watchIcon } from './shell/icon.js';
import { listenToKeys } from './shell/shortcuts.js';

const root = document.getElementById('app');
if (root) {
  root.replaceChildren();
  render(<App />, root);
}
listenToKeys();
watchTask();
watchList();
titleTimes();
watchIcon();
startStream();
