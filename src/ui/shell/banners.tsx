import { now } from '../kit/clock.js';
import { age } from '../kit/formats.js';
import { Time } from '../kit/time.js';
import { newVersion, offline, retryNow, stats } from '../live/connection.js';
import { outage } from '../live/outage.js';
import { resumeQueue } from '../pages/queues/actions.js';
import { bootstrap, may } from '../state/bootstrap.js';
import { ignoredParameters } from '../state/view.js';

function Offline() {
  const { since, nextTry } = offline.value ?? {};
  if (since === undefined || nextTry === undefined) return null;
  const left = Math.max(0, Math.ceil((nextTry - now.value) / 1000));
  return (
    <div class="banner warn offline" role="status">
      <span>
        Connection lost {age((now.value - since) / 1000)} ago — showing{' '}
        <Time at={new Date(since).toISOString()} />. Trying again
        {left > 0 ? ` in ${left} s` : ' now'}.
      </span>
      <button type="button" onClick={retryNow}>
        Try now
      </button>
    </div>
  );
}

/** Warnings that every page shows. */
export function Banners() {
  return (
    <div class="banners">
      {bootstrap.user === null && (
        <p class="banner exposed">Open to everyone who can reach this address</p>
      )}
      <Offline />
      {outage.value !== undefined && (
        <p class="banner warn" role="alert">
          The tasks have been unreachable for {age((now.value - outage.value.since) / 1000)}.{' '}
          {outage.value.why} This page may be out of date. It reloads when the outage is over. The
          log of the app says more.
        </p>
      )}
      {stats.value?.paused.map(({ queue, by, at, reason }) => (
        <div key={queue} class="banner warn" role="status">
          <span>
            Queue <strong>{queue}</strong> is paused by {by || 'an unknown user'} since{' '}
            <Time at={at} />
            {reason && `: ${reason}`}
          </span>
          {may('resume') && (
            <button type="button" onClick={() => void resumeQueue(queue)}>
              Resume {queue}
            </button>
          )}
        </div>
      ))}
      {newVersion.value && (
        <div class="banner" role="status">
          <span>A new version of this page is ready.</span>
          <button type="button" onClick={() => location.reload()}>
            Reload page
          </button>
        </div>
      )}
      {ignoredParameters.length > 0 && (
        <p class="banner">
          Ignored in the address, because the value is not valid: {ignoredParameters.join(', ')}.
        </p>
      )}
    </div>
  );
}
