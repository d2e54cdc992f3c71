import { render } from 'preact';
import { startClock } from './kit/clock.js';
import { showTimeTitles } from './kit/time.js';
import { startStream } from './live/connection.js';
import { watchOutages } from './live/outage.js';
import { watchTask } from './pages/task/opened.js';
import { notifyWatched } from './pages/task/watched.js';
import { showInitialList, watchList } from './pages/task-list/list.js';
import { Frame } from './shell/frame.js';
import { watchIcon } from './shell/icon.js';
import { listenToKeys } from './shell/shortcuts.js';
import { savePreferences, zonePreference } from './state/preferences.js';
import { view, watchHistory } from './state/view.js';

// What the first paint needs comes before it, the rest after it. Importing a module starts nothing.
savePreferences();
watchHistory();
startClock(() => view.value.tz ?? zonePreference.value);
showInitialList();

const root = document.getElementById('app');
if (root) {
  root.replaceChildren();
  render(<Frame />, root);
}
listenToKeys();
watchTask();
watchList();
notifyWatched();
showTimeTitles();
watchIcon();
watchOutages();
startStream();
