/** The values of a row as an array. Only the packing of the row knows the position of each. */
export type Packed<Row> = readonly Row[keyof Row][];

/**
 * Converts rows to arrays and back. An array crosses between threads a microsecond faster than an
 * object, and the driver takes longer to return many values than SQLite takes to build one JSON
 * text of them. Readers and writers use the names of the columns: their order stands here only.
 */
export interface Packing<Row> {
  /** The SQL of a packed row, as JSON text. */
  readonly sql: string;
  /** The position of each column, for SQL that reads a packed row. */
  readonly at: Readonly<Record<keyof Row, number>>;
  pack(row: Row): Packed<Row>;
  /**
   * Returns a row that reads its columns from the array. The columns are not its own properties:
   * destructure the row, but do not spread it.
   */
  unpack(packed: Packed<Row>): Readonly<Row>;
  /** Returns the rows in a JSON list of packed rows. */
  parseList(text: string): Readonly<Row>[];
}

/** Makes a packing from the SQL of each column, in the order of the array. */
export function packing<Row>(columns: Readonly<Record<keyof Row, string>>): Packing<Row> {
  // Getters take less time than a loop that copies all columns into an object.
  class View {
    readonly packed: Packed<Row>;

    constructor(packed: Packed<Row>) {
      this.packed = packed;
    }
  }
  const names = Object.keys(columns) as (keyof Row)[];
  for (const [n, name] of names.entries())
    Object.defineProperty(View.prototype, name, {
      get(this: View) {
        return this.packed[n];
      },
    });
  // The getters above are the columns of the row.
  const unpack = (packed: Packed<Row>): Row => new View(packed) as never;
  return {
    sql: `json_array(${Object.values(columns).join(', ')})`,
    at: Object.fromEntries(names.map((name, n) => [name, n])) as Record<keyof Row, number>,
    pack(row) {
      const values: Row[keyof Row][] = [];
      for (const name of names) values.push(row[name]);
      return values;
    },
    unpack,
    parseList: (text) => JSON.parse(text).map(unpack),
  };
}
