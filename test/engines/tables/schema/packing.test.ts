import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  type Database,
  inMemory,
  openDatabase,
} from '../../../../src/engines/tables/schema/database.js';
import { packing } from '../../../../src/engines/tables/schema/packing.js';
import { newTask } from '../../../../src/engines/tables/write/packed-tasks.js';

interface Place {
  name: string;
  height: number | null;
  twice: number;
}

const place = packing<Place>({ name: 'name', height: 'height', twice: '2 * n' });

describe('a packing', () => {
  let database: Database;
  beforeAll(async () => {
    database = await openDatabase(inMemory);
    database.exec(`CREATE TABLE place (n INTEGER, height INTEGER, name TEXT);
      INSERT INTO place VALUES (1, 20, 'a "quoted" name'), (2, NULL, 'b')`);
  });
  afterAll(() => database.close());

  it('reads the columns of one row by name', () => {
    const text = database.value<string>(`SELECT ${place.sql} FROM place WHERE n = 1`);
    const { name, height, twice } = place.unpack(JSON.parse(text));
    expect({ name, height, twice }).toEqual({ name: 'a "quoted" name', height: 20, twice: 2 });
  });

  it('reads the columns of a list of rows by name', () => {
    const text = database.value<string>(`SELECT json_group_array(${place.sql}) FROM place`);
    expect(place.parseList(text).map(({ name, height }) => [name, height])).toEqual([
      ['a "quoted" name', 20],
      ['b', null],
    ]);
  });

  it('writes each value to the position from which SQL reads it', () => {
    const packed = JSON.stringify(place.pack({ twice: 8, name: 'c', height: 3 }));
    const sql = `SELECT ?1 ->> ${place.at.name} AS name, ?1 ->> ${place.at.twice} AS twice`;
    expect(database.get(sql, packed)).toEqual({ name: 'c', twice: 8 });
    expect(place.unpack(JSON.parse(packed)).height).toBe(3);
  });

  it('keeps the order of the values of tasks that files contain', () => {
    expect(Object.keys(newTask.at)).toEqual([
      ...['id', 'name', 'queue', 'priority', 'tags', 'source', 'runAt', 'deadlineAt'],
      ...['attempts', 'interrupts', 'args', 'schedule', 'key', 'keyUntil', 'waitsFrom'],
    ]);
  });
});
