import {
  type Database,
  openDatabase,
  prepareConnection,
} from '../../src/engines/tables/schema/database.js';

/** Opens a connection to the file of a running engine. It waits for the locks of the engine. */
export async function openBeside(path: string): Promise<Database> {
  const database = await openDatabase(path);
  prepareConnection(database);
  return database;
}
