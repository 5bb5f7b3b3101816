// Sorting and filtering of the table of cases. Without scripts the table stands worst first.
"use strict";
(() => {
  const table = document.getElementById("case-table");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const headings = Array.from(table.tHead.rows[0].cells);
  const search = document.getElementById("case-search");
  const verdict = document.getElementById("case-verdict");
  const count = document.getElementById("case-count");
  const words = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));

  const keyOf = (row, column) => {
    const text = row.cells[column].dataset.value ?? "";
    const number = Number(text);
    return { isMissing: text === "", number: Number.isNaN(number) ? null : number, text };
  };

  const compare = (a, b) => {
    if (a.number !== null && b.number !== null) return a.number - b.number;
    return a.text.localeCompare(b.text, undefined, { numeric: true });
  };

  const sortBy = (column, isAscending) => {
    const keyed = rows.map((row, place) => ({ row, place, key: keyOf(row, column) }));
    keyed.sort((a, b) => {
      // what was not measured stays last either way
      if (a.key.isMissing !== b.key.isMissing) return a.key.isMissing ? 1 : -1;
      const order = compare(a.key, b.key) * (isAscending ? 1 : -1);
      return order || a.place - b.place;
    });
    body.append(...keyed.map((entry) => entry.row));
    headings.forEach((heading, number) => {
      if (number === column) {
        heading.setAttribute("aria-sort", isAscending ? "ascending" : "descending");
      } else {
        heading.removeAttribute("aria-sort");
      }
    });
  };

  const filter = () => {
    const wanted = search.value.trim().toLowerCase();
    const answer = verdict ? verdict.value : "";
    let shown = 0;
    for (const row of rows) {
      const isShown = words.get(row).includes(wanted) && (!answer || row.dataset.verdict === answer);
      row.hidden = !isShown;
      shown += isShown ? 1 : 0;
    }
    count.textContent = `${shown} of ${rows.length} cases shown`;
  };

  // a heading becomes a button, which the keyboard reaches
  headings.forEach((heading, column) => {
    if (!heading.hasAttribute("data-sortable")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      sortBy(column, heading.getAttribute("aria-sort") !== "ascending");
    });
  });
  search.addEventListener("input", filter);
  if (verdict) verdict.addEventListener("change", filter);
  document.getElementById("case-controls").hidden = false;
  filter();
})();
