import { render } from 'preact';
import { startClock } from './kit/clock.js';
import { holdRendersDuringPress } from './kit/press.js';
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

// Importing a module starts nothing: each part is started here. The first paint comes after the
// parts that it needs and before all others.
savePreferences();
watchHistory();
holdRendersDuringPress();
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
