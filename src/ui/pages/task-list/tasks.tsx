import { Filters } from './filters.js';
import { SelectionBar } from './selection-bar.js';
import { TaskTable } from './table.js';

/** The list of tasks, with its filters above it and the actions on selected tasks below it. */
export function TaskList() {
  return (
    <>
      <Filters />
      <TaskTable />
      <SelectionBar />
    </>
  );
}

/** The page of all tasks. */
export function TasksPage() {
  return (
    <div class="list">
      <TaskList />
    </div>
  );
}
