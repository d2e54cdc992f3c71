PRAGMA application_id = 1953195628;
PRAGMA user_version = 2;
CREATE TABLE attempt (
  task TEXT NOT NULL,
  number INTEGER NOT NULL,
  status TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  ended_at INTEGER NOT NULL,
  error_name TEXT,
  error_message TEXT,
  stack TEXT,
  PRIMARY KEY (task, number)
) WITHOUT ROWID;
INSERT INTO "attempt" VALUES('01a21071-364f-7341-a4f2-3559a31de5bb',1,'failed',1795572184656,1795572184659,'RangeError','no luck 1','RangeError: no luck 1
    at t.task.retries (mk.mjs:6:64)
    at dist/tasks/runner.js:42:103
    at AsyncLocalStorage.run (node:async_hooks:346:14)
    at runInTask (dist/tasks/context.js:5:18)
    at attemptOnce (dist/tasks/runner.js:42:25)
    at Object.run (dist/tasks/runner.js:23:28)
    at #attempt (dist/engines/embedded/slots.js:35:33)
    at Slots.run (dist/engines/embedded/slots.js:26:23)
    at #begin (dist/engines/embedded/engine.js:202:42)
    at onClaimed (dist/engines/embedded/engine.js:172:39)');
INSERT INTO "attempt" VALUES('01a21071-364f-7341-a4f2-3559a31de5bb',2,'failed',1795572184659,1795572184661,'RangeError','no luck 2','RangeError: no luck 2
    at t.task.retries (mk.mjs:6:64)
    at dist/tasks/runner.js:42:103
    at AsyncLocalStorage.run (node:async_hooks:346:14)
    at runInTask (dist/tasks/context.js:5:18)
    at attemptOnce (dist/tasks/runner.js:42:25)
    at Object.run (dist/tasks/runner.js:23:28)
    at #attempt (dist/engines/embedded/slots.js:35:33)
    at Slots.run (dist/engines/embedded/slots.js:26:23)
    at #begin (dist/engines/embedded/engine.js:202:42)
    at onClaimed (dist/engines/embedded/engine.js:172:39)');
CREATE TABLE journal (log TEXT NOT NULL, n INTEGER NOT NULL, entry TEXT NOT NULL, expires_at INTEGER NOT NULL, PRIMARY KEY (log, n)) WITHOUT ROWID;
INSERT INTO "journal" VALUES('audit',1,'{"event":"login"}',2095572185168);
CREATE TABLE log (
  task TEXT NOT NULL,
  n INTEGER NOT NULL,
  at INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  level TEXT NOT NULL,
  message TEXT NOT NULL,
  fields TEXT,
  PRIMARY KEY (task, n)
) WITHOUT ROWID;
INSERT INTO "log" VALUES('01a21071-364f-7341-a4f2-3559a31de5bb',1,1795572184658,1,'info','trying','{"n":1}');
INSERT INTO "log" VALUES('01a21071-364f-7341-a4f2-3559a31de5bb',2,1795572184661,2,'info','trying','{"n":1}');
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('first_rev',179557218463900);
INSERT INTO "meta" VALUES('rev',179557218463915);
CREATE TABLE rollup (
  level TEXT NOT NULL,
  at INTEGER NOT NULL,
  name TEXT NOT NULL,
  queue TEXT NOT NULL,
  figures TEXT NOT NULL,
  PRIMARY KEY (level, at, name, queue)
) WITHOUT ROWID;
INSERT INTO "rollup" VALUES('all',0,'add','default','{"ended":{"cancelled":1,"success":1},"ran":1,"total":5,"min":5,"max":5,"buckets":{"41":1}}');
INSERT INTO "rollup" VALUES('all',0,'bulk','bulk','{"ended":{"success":1},"ran":1,"total":2,"min":2,"max":2,"buckets":{"25":1}}');
INSERT INTO "rollup" VALUES('all',0,'flaky','default','{"ended":{"failed":1},"ran":1,"total":2,"min":2,"max":2,"buckets":{"25":1}}');
INSERT INTO "rollup" VALUES('day',1795564800000,'add','default','{"ended":{"cancelled":1,"success":1},"ran":1,"total":5,"min":5,"max":5,"buckets":{"41":1}}');
INSERT INTO "rollup" VALUES('day',1795564800000,'bulk','bulk','{"ended":{"success":1},"ran":1,"total":2,"min":2,"max":2,"buckets":{"25":1}}');
INSERT INTO "rollup" VALUES('day',1795564800000,'flaky','default','{"ended":{"failed":1},"ran":1,"total":2,"min":2,"max":2,"buckets":{"25":1}}');
INSERT INTO "rollup" VALUES('hour',1795572000000,'add','default','{"ended":{"cancelled":1,"success":1},"ran":1,"total":5,"min":5,"max":5,"buckets":{"41":1}}');
INSERT INTO "rollup" VALUES('hour',1795572000000,'bulk','bulk','{"ended":{"success":1},"ran":1,"total":2,"min":2,"max":2,"buckets":{"25":1}}');
INSERT INTO "rollup" VALUES('hour',1795572000000,'flaky','default','{"ended":{"failed":1},"ran":1,"total":2,"min":2,"max":2,"buckets":{"25":1}}');
INSERT INTO "rollup" VALUES('minute',1795572180000,'add','default','{"ended":{"cancelled":1,"success":1},"ran":1,"total":5,"min":5,"max":5,"buckets":{"41":1}}');
INSERT INTO "rollup" VALUES('minute',1795572180000,'bulk','bulk','{"ended":{"success":1},"ran":1,"total":2,"min":2,"max":2,"buckets":{"25":1}}');
INSERT INTO "rollup" VALUES('minute',1795572180000,'flaky','default','{"ended":{"failed":1},"ran":1,"total":2,"min":2,"max":2,"buckets":{"25":1}}');
CREATE TABLE shared (key TEXT PRIMARY KEY, value TEXT NOT NULL, expires_at INTEGER NOT NULL, rev INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "shared" VALUES('session:1','{"a":1}',2095572185167,179557218463915);
CREATE TABLE tally (name TEXT NOT NULL, queue TEXT NOT NULL, status TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (name, queue, status)) WITHOUT ROWID;
INSERT INTO "tally" VALUES('add','default','cancelled',1);
INSERT INTO "tally" VALUES('add','default','pending',1);
INSERT INTO "tally" VALUES('add','default','running',0);
INSERT INTO "tally" VALUES('add','default','success',1);
INSERT INTO "tally" VALUES('bulk','bulk','running',0);
INSERT INTO "tally" VALUES('bulk','bulk','success',1);
INSERT INTO "tally" VALUES('flaky','default','failed',1);
INSERT INTO "tally" VALUES('flaky','default','running',0);
CREATE TABLE task (
  id TEXT NOT NULL PRIMARY KEY,
  rev INTEGER NOT NULL,
  name TEXT NOT NULL,
  status TEXT NOT NULL,
  queue TEXT NOT NULL,
  priority INTEGER NOT NULL,
  tags TEXT,
  source TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  run_at INTEGER NOT NULL,
  ready_at INTEGER,
  started_at INTEGER,
  ended_at INTEGER,
  attempt INTEGER NOT NULL DEFAULT 0,
  attempts INTEGER NOT NULL,
  max_attempts INTEGER NOT NULL,
  interrupts INTEGER NOT NULL DEFAULT 0,
  max_interrupts INTEGER NOT NULL,
  cancelling INTEGER NOT NULL DEFAULT 0,
  owner TEXT,
  log_lines INTEGER NOT NULL DEFAULT 0,
  error_name TEXT,
  error_message TEXT,
  fingerprint TEXT,
  stack TEXT,
  args TEXT NOT NULL,
  result TEXT,
  result_omitted TEXT
);
INSERT INTO "task" VALUES('01a21071-3649-76f4-876f-d3ffe2934cda',179557218463903,'add','success','default',0,'{"tenant":"7"}','manual',1795572184649,1795572184649,NULL,1795572184650,1795572184655,1,1,1,0,0,0,NULL,0,NULL,NULL,NULL,NULL,'[1,2]','{"sum":3}',NULL);
INSERT INTO "task" VALUES('01a21071-364f-7341-a4f2-3559a31de5bb',179557218463910,'flaky','failed','default',0,NULL,'manual',1795572184655,1795572184659,NULL,1795572184659,1795572184661,2,2,2,0,0,0,NULL,2,'RangeError','no luck 2','8f2c34a46379adec','RangeError: no luck 2
    at t.task.retries (mk.mjs:6:64)
    at dist/tasks/runner.js:42:103
    at AsyncLocalStorage.run (node:async_hooks:346:14)
    at runInTask (dist/tasks/context.js:5:18)
    at attemptOnce (dist/tasks/runner.js:42:25)
    at Object.run (dist/tasks/runner.js:23:28)
    at #attempt (dist/engines/embedded/slots.js:35:33)
    at Slots.run (dist/engines/embedded/slots.js:26:23)
    at #begin (dist/engines/embedded/engine.js:202:42)
    at onClaimed (dist/engines/embedded/engine.js:172:39)','[]',NULL,NULL);
INSERT INTO "task" VALUES('01a21071-3653-74fa-8b42-cad47ff3b9fb',179557218463911,'bulk','success','bulk',0,NULL,'manual',1795572184659,1795572184659,NULL,1795572184659,1795572184661,1,1,1,0,0,0,NULL,0,NULL,NULL,NULL,NULL,'[]','1',NULL);
INSERT INTO "task" VALUES('01a21071-3656-7206-a6b1-2a4514f64169',179557218463912,'add','pending','default',5,'{"tenant":"7"}','manual',1795572184662,4070908800000,4070908800000,NULL,NULL,0,1,1,0,0,0,NULL,0,NULL,NULL,NULL,NULL,'[3,4]',NULL,NULL);
INSERT INTO "task" VALUES('01a21071-3657-76f3-b204-24cf21339a62',179557218463914,'add','cancelled','default',0,'{"tenant":"7"}','manual',1795572184663,1795575784663,NULL,NULL,1795572184664,0,1,1,0,0,0,NULL,0,NULL,NULL,NULL,NULL,'[5,6]',NULL,NULL);
CREATE INDEX task_status ON task (status, id);
CREATE INDEX task_name ON task (name, status, id);
CREATE INDEX task_rev ON task (rev);
CREATE INDEX task_ready ON task (name, priority DESC, id) WHERE status = 'pending' AND ready_at IS NULL;
CREATE INDEX task_waiting ON task (ready_at) WHERE ready_at IS NOT NULL;
CREATE INDEX task_owner ON task (owner) WHERE status = 'running';
CREATE INDEX shared_rev ON shared (rev);
CREATE INDEX shared_expiry ON shared (expires_at);
