import type { ComponentChildren } from 'preact';

/** A column of a {@link DataTable}. */
export interface Column<T> {
  /**
   * Text of the column header, which each cell repeats on a phone. Empty for the column of the
   * buttons.
   */
  header: string;
  cell: (row: T) => ComponentChildren;
  /** Whether the cells of the column are row headers. */
  isRowHeader?: boolean;
  /** Class of the cells, or a function that returns the class of a cell. */
  class?: string | ((row: T) => string);
  /** Whether the cells omit the header on a phone. */
  hideLabel?: boolean;
}

interface DataTableProps<T> {
  caption: string;
  columns: readonly Column<T>[];
  rows: readonly T[];
  keyOf: (row: T) => string;
}

/**
 * A table whose rows become cards on a phone. When a signal that a cell reads changes, only that
 * row is redrawn.
 */
export function DataTable<T>({ caption, columns, rows, keyOf }: DataTableProps<T>) {
  return (
    <table>
      <caption>{caption}</caption>
      <thead>
        <tr>
          {columns.map(({ header }) =>
            header === '' ? (
              <td key={header} />
            ) : (
              <th key={header} scope="col">
                {header}
              </th>
            ),
          )}
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <Row key={keyOf(row)} row={row} columns={columns} />
        ))}
      </tbody>
    </table>
  );
}

function Row<T>({ row, columns }: { row: T; columns: readonly Column<T>[] }) {
  return (
    <tr>
      {columns.map(({ header, cell, isRowHeader, hideLabel, class: name }) => {
        const className = typeof name === 'function' ? name(row) : name;
        return isRowHeader ? (
          <th key={header} scope="row" class={className}>
            {cell(row)}
          </th>
        ) : (
          <td
            key={header}
            data-label={hideLabel || header === '' ? undefined : header}
            class={className}
          >
            {cell(row)}
          </td>
        );
      })}
    </tr>
  );
}

/** Returns the column with the buttons of each row. */
export function actionsColumn<T>(cell: Column<T>['cell']): Column<T> {
  return { header: '', class: 'row-actions', cell };
}

/** The button that loads the next page. */
export function More({ more }: { more: (() => void) | undefined }) {
  if (!more) return null;
  return (
    <nav class="pages" aria-label="Pages">
      <button type="button" onClick={more}>
        Show more
      </button>
    </nav>
  );
}
