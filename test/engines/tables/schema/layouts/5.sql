PRAGMA application_id = 1953195628;
PRAGMA user_version = 5;
CREATE TABLE attempt (
  task INTEGER NOT NULL,
  number INTEGER NOT NULL,
  status INTEGER NOT NULL,
  started_at INTEGER NOT NULL,
  ended_at INTEGER NOT NULL,
  error_name TEXT,
  error_message TEXT,
  stack TEXT,
  PRIMARY KEY (task, number)
) WITHOUT ROWID;
INSERT INTO "attempt" VALUES(2,1,3,1795935065126,1795935065128,'RangeError','no luck','RangeError: no luck
    at m.task.retries (mk.mjs:11:74)
    at dist/tasks/runner.js:124:85
    at AsyncLocalStorage.run (node:async_hooks:346:14)
    at runInTask (dist/tasks/context.js:5:18)
    at callHandler (dist/tasks/runner.js:124:10)
    at Object.run (dist/tasks/runner.js:46:23)
    at Slots.run (dist/engines/embedded/slots.js:77:38)
    at #begin (dist/engines/table-engine.js:247:45)
    at Object.onClaimed (dist/engines/table-engine.js:228:41)
    at #deliver (dist/engines/embedded/group-commit.js:89:19)');
INSERT INTO "attempt" VALUES(2,2,3,1795935065129,1795935065130,'RangeError','no luck','RangeError: no luck
    at m.task.retries (mk.mjs:11:74)
    at dist/tasks/runner.js:124:85
    at AsyncLocalStorage.run (node:async_hooks:346:14)
    at runInTask (dist/tasks/context.js:5:18)
    at callHandler (dist/tasks/runner.js:124:10)
    at Object.run (dist/tasks/runner.js:46:23)
    at Slots.run (dist/engines/embedded/slots.js:77:38)
    at #begin (dist/engines/table-engine.js:247:45)
    at Object.onClaimed (dist/engines/table-engine.js:228:41)
    at #deliver (dist/engines/embedded/group-commit.js:89:19)');
INSERT INTO "attempt" VALUES(9,1,3,1795935065166,1795935065167,'Error','not yet','Error: not yet
    at m.task.retries (mk.mjs:13:45)
    at dist/tasks/runner.js:124:85
    at AsyncLocalStorage.run (node:async_hooks:346:14)
    at runInTask (dist/tasks/context.js:5:18)
    at callHandler (dist/tasks/runner.js:124:10)
    at Object.run (dist/tasks/runner.js:46:23)
    at Slots.run (dist/engines/embedded/slots.js:77:38)
    at #begin (dist/engines/table-engine.js:247:45)
    at Object.onClaimed (dist/engines/table-engine.js:228:41)
    at #deliver (dist/engines/embedded/group-commit.js:89:19)');
CREATE VIRTUAL TABLE failure USING fts5(words, content='', contentless_delete=1, detail=none);
INSERT INTO failure (rowid, words) VALUES(2,'flaky RangeError no luck');
CREATE TABLE idempotency (
  name TEXT NOT NULL,
  key TEXT NOT NULL,
  id BLOB NOT NULL,
  expires_at INTEGER NOT NULL,
  released INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (name, key)
) WITHOUT ROWID;
INSERT INTO "idempotency" VALUES('add','once',X'01A226125418730E9B97D2482ED84A07',2095935065112,0);
CREATE TABLE journal (log TEXT NOT NULL, n INTEGER NOT NULL, entry TEXT NOT NULL, expires_at INTEGER NOT NULL, PRIMARY KEY (log, n)) WITHOUT ROWID;
INSERT INTO "journal" VALUES('audit',1,'{"event":"login"}',2095935065227);
CREATE TABLE kind (
  fingerprint TEXT PRIMARY KEY,
  lane INTEGER NOT NULL,
  error_name TEXT NOT NULL,
  error_message TEXT NOT NULL,
  n INTEGER NOT NULL,
  first_at INTEGER NOT NULL,
  last_at INTEGER NOT NULL,
  last_id BLOB NOT NULL
) WITHOUT ROWID;
INSERT INTO "kind" VALUES('346b2dba86501948',2,'RangeError','no luck',1,1795935065130,1795935065130,X'01A22612542673FEA066550B7929EE4C');
CREATE TABLE kind_hour (hour INTEGER NOT NULL, fingerprint TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (fingerprint, hour)) WITHOUT ROWID;
INSERT INTO "kind_hour" VALUES(498870,'346b2dba86501948',1);
CREATE TABLE kind_tally (fingerprint TEXT NOT NULL, status INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (fingerprint, status)) WITHOUT ROWID;
INSERT INTO "kind_tally" VALUES('170b31a52586f96e',0,1);
INSERT INTO "kind_tally" VALUES('346b2dba86501948',3,1);
CREATE TABLE lane (id INTEGER PRIMARY KEY, name TEXT NOT NULL, queue TEXT NOT NULL, UNIQUE (name, queue));
INSERT INTO "lane" VALUES(1,'add','default');
INSERT INTO "lane" VALUES(2,'flaky','default');
INSERT INTO "lane" VALUES(3,'bulk','bulk');
INSERT INTO "lane" VALUES(4,'later','default');
INSERT INTO "lane" VALUES(5,'hang','default');
CREATE TABLE log (
  task INTEGER NOT NULL,
  n INTEGER NOT NULL,
  at INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  level TEXT NOT NULL,
  late INTEGER NOT NULL,
  message TEXT NOT NULL,
  fields TEXT,
  PRIMARY KEY (task, n)
) WITHOUT ROWID;
INSERT INTO "log" VALUES(2,1,1795935065127,1,'info',0,'trying','{"n":1}');
INSERT INTO "log" VALUES(2,2,1795935065130,2,'info',0,'trying','{"n":1}');
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('first_rev',179593506510400);
INSERT INTO "meta" VALUES('rev',179593506510429);
INSERT INTO "meta" VALUES('seq',10);
CREATE TABLE paused (queue TEXT PRIMARY KEY, at INTEGER NOT NULL, paused_by TEXT NOT NULL DEFAULT '', reason TEXT) WITHOUT ROWID;
INSERT INTO "paused" VALUES('bulk',1795935065163,'ada','a dump');
CREATE TABLE rollup (
  level TEXT NOT NULL,
  at INTEGER NOT NULL,
  lane INTEGER NOT NULL,
  figures TEXT NOT NULL,
  PRIMARY KEY (level, at, lane)
) WITHOUT ROWID;
INSERT INTO "rollup" VALUES('all',0,1,'{"ended":{"success":2,"cancelled":1},"ran":2,"total":7,"min":1,"max":6,"buckets":{"16":1,"44":1}}');
INSERT INTO "rollup" VALUES('all',0,2,'{"ended":{"failed":1},"ran":1,"total":1,"min":1,"max":1,"buckets":{"16":1}}');
INSERT INTO "rollup" VALUES('all',0,3,'{"ended":{"success":2},"ran":2,"total":2,"min":1,"max":1,"buckets":{"16":2}}');
INSERT INTO "rollup" VALUES('day',1795910400000,1,'{"ended":{"success":2,"cancelled":1},"ran":2,"total":7,"min":1,"max":6,"buckets":{"16":1,"44":1}}');
INSERT INTO "rollup" VALUES('day',1795910400000,2,'{"ended":{"failed":1},"ran":1,"total":1,"min":1,"max":1,"buckets":{"16":1}}');
INSERT INTO "rollup" VALUES('day',1795910400000,3,'{"ended":{"success":2},"ran":2,"total":2,"min":1,"max":1,"buckets":{"16":2}}');
INSERT INTO "rollup" VALUES('hour',1795932000000,1,'{"ended":{"success":2,"cancelled":1},"ran":2,"total":7,"min":1,"max":6,"buckets":{"16":1,"44":1}}');
INSERT INTO "rollup" VALUES('hour',1795932000000,2,'{"ended":{"failed":1},"ran":1,"total":1,"min":1,"max":1,"buckets":{"16":1}}');
INSERT INTO "rollup" VALUES('hour',1795932000000,3,'{"ended":{"success":2},"ran":2,"total":2,"min":1,"max":1,"buckets":{"16":2}}');
INSERT INTO "rollup" VALUES('minute',1795935060000,1,'{"ended":{"success":2,"cancelled":1},"ran":2,"total":7,"min":1,"max":6,"buckets":{"16":1,"44":1}}');
INSERT INTO "rollup" VALUES('minute',1795935060000,2,'{"ended":{"failed":1},"ran":1,"total":1,"min":1,"max":1,"buckets":{"16":1}}');
INSERT INTO "rollup" VALUES('minute',1795935060000,3,'{"ended":{"success":2},"ran":2,"total":2,"min":1,"max":1,"buckets":{"16":2}}');
CREATE TABLE schedule (
  name TEXT PRIMARY KEY,
  task TEXT NOT NULL,
  rule TEXT NOT NULL,
  template TEXT NOT NULL,
  next_at INTEGER,
  paused_at INTEGER,
  last_at INTEGER,
  last_id BLOB,
  skipped INTEGER NOT NULL DEFAULT 0
, paused_by TEXT NOT NULL DEFAULT '', pause_reason TEXT) WITHOUT ROWID;
INSERT INTO "schedule" VALUES('hourly','add','every 3600','["01a22612-5418-730e-9b97-d247e395a142","add","default",0,"{\"tenant\":\"7\"}",1,1795935065112,null,1,0,"[8,9]","hourly",null,null]',1795938665043,NULL,NULL,NULL,0,'',NULL);
INSERT INTO "schedule" VALUES('nightly','bulk','0 3 * * * UTC','["01a22612-5417-7043-8f73-df65253fdfe8","bulk","bulk",0,null,1,1795935065111,null,1,0,"[]","nightly",null,null]',1796007600000,1795935065164,NULL,NULL,0,'ada','a dump');
CREATE TABLE shared (key TEXT PRIMARY KEY, value TEXT NOT NULL, expires_at INTEGER NOT NULL, rev INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "shared" VALUES('session:1','{"a":1}',2095935065225,179593506510429);
CREATE TABLE tag (key TEXT NOT NULL, value TEXT NOT NULL, id BLOB NOT NULL, PRIMARY KEY (key, value, id)) WITHOUT ROWID;
INSERT INTO "tag" VALUES('tenant','7',X'01A226125418730E9B97D2482ED84A07');
INSERT INTO "tag" VALUES('tenant','7',X'01A226125435741395781FF339CEF3D1');
INSERT INTO "tag" VALUES('tenant','7',X'01A2261254367433AE69787EB80912A3');
INSERT INTO "tag" VALUES('tenant','7',X'01A22612544173468311F6785C033624');
CREATE TABLE tag_tally (key TEXT NOT NULL, value TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (key, value)) WITHOUT ROWID;
INSERT INTO "tag_tally" VALUES('tenant','7',4);
CREATE TABLE tally (status INTEGER NOT NULL, lane INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (status, lane)) WITHOUT ROWID;
INSERT INTO "tally" VALUES(0,1,1);
INSERT INTO "tally" VALUES(0,2,0);
INSERT INTO "tally" VALUES(0,3,1);
INSERT INTO "tally" VALUES(0,4,1);
INSERT INTO "tally" VALUES(0,5,0);
INSERT INTO "tally" VALUES(1,1,0);
INSERT INTO "tally" VALUES(1,2,0);
INSERT INTO "tally" VALUES(1,3,0);
INSERT INTO "tally" VALUES(1,4,0);
INSERT INTO "tally" VALUES(1,5,1);
INSERT INTO "tally" VALUES(2,1,2);
INSERT INTO "tally" VALUES(2,3,1);
INSERT INTO "tally" VALUES(3,2,1);
INSERT INTO "tally" VALUES(5,1,1);
CREATE TABLE task (
  seq INTEGER PRIMARY KEY,
  id BLOB NOT NULL UNIQUE,
  rev INTEGER NOT NULL,
  lane INTEGER NOT NULL,
  status INTEGER NOT NULL,
  priority INTEGER NOT NULL,
  tags TEXT,
  source INTEGER NOT NULL,
  run_at INTEGER NOT NULL,
  ready_at INTEGER,
  deadline_at INTEGER,
  attempts INTEGER NOT NULL,
  max_attempts INTEGER NOT NULL,
  max_interrupts INTEGER NOT NULL,
  args TEXT NOT NULL,
  idempotency_key TEXT,
  schedule TEXT,
  rerun_of BLOB,
  rerun_as BLOB,
  attempt INTEGER NOT NULL DEFAULT 0,
  interrupts INTEGER NOT NULL DEFAULT 0,
  cancelling INTEGER NOT NULL DEFAULT 0,
  log_lines INTEGER NOT NULL DEFAULT 0,
  owner TEXT,
  started_at INTEGER,
  ended_at INTEGER,
  duration INTEGER,
  progress REAL,
  progress_text TEXT,
  error_name TEXT,
  error_message TEXT,
  fingerprint TEXT,
  searchable INTEGER,
  stack TEXT,
  result TEXT,
  result_omitted TEXT
);
INSERT INTO "task" VALUES(1,X'01A226125418730E9B97D2482ED84A07',179593506510419,1,2,0,'{"tenant":"7"}',0,1795935065112,NULL,NULL,1,1,0,'[1,2]','once',NULL,NULL,X'01A22612544173468311F6785C033624',1,0,0,0,NULL,1795935065112,1795935065118,6,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"sum":3}',NULL);
INSERT INTO "task" VALUES(10,X'01A22612545574EE8249182E1A3948B7',179593506510428,5,1,0,NULL,0,1795935065173,NULL,NULL,1,1,3,'[]',NULL,NULL,NULL,NULL,1,0,0,0,'72fc2683-25b7-48c8-ade9-9925f55ecf61',1795935065173,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "task" VALUES(2,X'01A22612542673FEA066550B7929EE4C',179593506510408,2,3,0,NULL,0,1795935065128,NULL,NULL,2,2,0,'[]',NULL,NULL,NULL,NULL,2,0,0,2,NULL,1795935065129,1795935065130,1,NULL,NULL,'RangeError','no luck','346b2dba86501948',1,'RangeError: no luck
    at m.task.retries (mk.mjs:11:74)
    at dist/tasks/runner.js:124:85
    at AsyncLocalStorage.run (node:async_hooks:346:14)
    at runInTask (dist/tasks/context.js:5:18)
    at callHandler (dist/tasks/runner.js:124:10)
    at Object.run (dist/tasks/runner.js:46:23)
    at Slots.run (dist/engines/embedded/slots.js:77:38)
    at #begin (dist/engines/table-engine.js:247:45)
    at Object.onClaimed (dist/engines/table-engine.js:228:41)
    at #deliver (dist/engines/embedded/group-commit.js:89:19)',NULL,NULL);
INSERT INTO "task" VALUES(3,X'01A22612542E7156BF83337FF9306F63',179593506510411,3,2,0,NULL,0,1795935065134,NULL,NULL,1,1,0,'[]',NULL,NULL,NULL,NULL,1,0,0,0,NULL,1795935065134,1795935065135,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'1',NULL);
INSERT INTO "task" VALUES(4,X'01A226125435741395781FF339CEF3D1',179593506510412,1,0,5,'{"tenant":"7"}',0,4070908800000,4070908800000,NULL,1,1,0,'[3,4]',NULL,NULL,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "task" VALUES(5,X'01A2261254367433AE69787EB80912A3',179593506510414,1,5,0,'{"tenant":"7"}',0,1795938665142,NULL,NULL,1,1,0,'[5,6]',NULL,NULL,NULL,NULL,0,0,0,0,NULL,NULL,1795935065143,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "task" VALUES(7,X'01A22612544173468311F6785C033624',179593506510421,1,2,0,'{"tenant":"7"}',0,1795935065153,NULL,NULL,1,1,0,'[1,2]',NULL,NULL,X'01A226125418730E9B97D2482ED84A07',NULL,1,0,0,0,NULL,1795935065153,1795935065154,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"sum":3}',NULL);
INSERT INTO "task" VALUES(8,X'01A22612544D7763911CE1DB54932D7D',179593506510423,3,0,0,NULL,0,1795935065165,NULL,NULL,1,1,0,'[]',NULL,NULL,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "task" VALUES(9,X'01A22612544E703AA57B7A1E2AFC41E6',179593506510426,4,0,0,NULL,0,4070908800000,4070908800000,NULL,4,4,0,'[]',NULL,NULL,NULL,NULL,1,0,0,0,NULL,1795935065166,NULL,NULL,NULL,NULL,'Error','not yet','170b31a52586f96e',NULL,'Error: not yet
    at m.task.retries (mk.mjs:13:45)
    at dist/tasks/runner.js:124:85
    at AsyncLocalStorage.run (node:async_hooks:346:14)
    at runInTask (dist/tasks/context.js:5:18)
    at callHandler (dist/tasks/runner.js:124:10)
    at Object.run (dist/tasks/runner.js:46:23)
    at Slots.run (dist/engines/embedded/slots.js:77:38)
    at #begin (dist/engines/table-engine.js:247:45)
    at Object.onClaimed (dist/engines/table-engine.js:228:41)
    at #deliver (dist/engines/embedded/group-commit.js:89:19)',NULL,NULL);
CREATE TABLE tombstone (rev INTEGER PRIMARY KEY, id BLOB NOT NULL);
INSERT INTO "tombstone" VALUES(179593506510422,X'01A22612543A70408AF5A365741BEF10');
CREATE TABLE worker (
  owner TEXT PRIMARY KEY,
  host TEXT NOT NULL,
  pid INTEGER NOT NULL,
  version TEXT NOT NULL,
  slots INTEGER NOT NULL,
  started_at INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO "worker" VALUES('72fc2683-25b7-48c8-ade9-9925f55ecf61','vm',8107,'0.1.0',10,1795935065110);
CREATE INDEX idempotency_expiry ON idempotency (expires_at);
CREATE INDEX kind_hour_hour ON kind_hour (hour);
CREATE INDEX kind_last ON kind (last_at, fingerprint);
CREATE INDEX shared_expiry ON shared (expires_at);
CREATE INDEX shared_rev ON shared (rev);
CREATE INDEX tag_key ON tag (key, id);
CREATE INDEX tag_tally_value ON tag_tally (value);
CREATE INDEX task_duration ON task (status, duration, id) WHERE status > 1;
CREATE INDEX task_ended ON task (status, ended_at, id) WHERE status > 1;
CREATE INDEX task_fingerprint ON task (fingerprint, id) WHERE fingerprint IS NOT NULL;
CREATE INDEX task_lane ON task (lane, status, id) WHERE status <> 1;
CREATE INDEX task_ready ON task (lane, priority DESC, id) WHERE status = 0 AND ready_at IS NULL;
CREATE INDEX task_retrying ON task (started_at, id) WHERE status = 0 AND started_at IS NOT NULL;
CREATE INDEX task_rev ON task (rev);
CREATE INDEX task_running ON task (owner) WHERE status = 1;
CREATE INDEX task_schedule ON task (schedule, id) WHERE schedule IS NOT NULL;
CREATE INDEX task_started ON task (status, started_at, id) WHERE status > 1;
CREATE INDEX task_status ON task (status, id) WHERE status <> 1;
CREATE INDEX task_unsearchable ON task (searchable) WHERE searchable = 0;
CREATE INDEX task_waiting ON task (ready_at) WHERE ready_at IS NOT NULL;
