import { render } from 'preact';
import { App } from './app.js';
import { startStream } from './live/connection.js';
import { watchIcon } from './shell/icon.js';
import { listenToKeys } from './shell/shortcuts.js';
import { watchTask } from './task/opened.js';
import { watchList } from './task-list/list.js';
import { titleTimes } from './time.js';

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
