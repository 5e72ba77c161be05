// Sorting of tables: a button in each header cell, the state in aria-sort.
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const keys = new Map();
      for (const row of body.rows) {
        const cell = row.cells[column];
        keys.set(row, cell.dataset.v ?? cell.textContent.trim());
      }
      const rows = [...body.rows].sort((a, b) => compare(keys.get(a), keys.get(b), up));
      body.append(...rows);
    });
  });
}

// Numbers by value, names with their numbers in order (beta[2] before beta[10]);
// what is missing or not a number stays last in both directions.
function compare(a, b, up) {
  if (a === "" || b === "") return (a === "") - (b === "");
  const x = Number(a), y = Number(b);
  const order = Number.isNaN(x) || Number.isNaN(y)
    ? a.localeCompare(b, "en", { numeric: true })
    : x - y;
  return up ? order : -order;
}
