"use strict";
(() => {
  document.documentElement.classList.add("js");

  const value = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.sort ?? cell.textContent.trim();
    const number = Number(text.replace("−", "-"));
    return text === "" || Number.isNaN(number) ? text : number;
  };
  const missing = (v) => v === "" || v === "–" || v === "nan";
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });

  const sortBy = (table, head, column) => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows].map((row, index) => ({ row, index, key: value(row, column) }));
    rows.sort((a, b) => {
      if (missing(a.key) || missing(b.key)) return missing(a.key) - missing(b.key) || a.index - b.index;
      return (up ? 1 : -1) * compare(a.key, b.key) || a.index - b.index;
    });
    table.tBodies[0].append(...rows.map((entry) => entry.row));
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    heads.forEach((head, column) => {
      if (head.hasAttribute("data-nosort")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sortBy(table, head, column));
      head.append(button);
    });
  }

  const filter = document.getElementById("qc-filter");
  const odd = document.getElementById("qc-odd");
  const shown = document.getElementById("qc-shown");
  const items = [...document.querySelectorAll(".qc")];
  const apply = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const item of items) {
      const keep = words.every((word) => item.dataset.name.includes(word)) && (!odd.checked || item.dataset.odd !== "0");
      item.hidden = !keep;
      count += keep;
    }
    shown.textContent = `${count} shown`;
  };
  if (filter) {
    filter.addEventListener("input", apply);
    odd.addEventListener("change", apply);
  }

  const open = () => (location.hash.startsWith("#qc-") ? document.getElementById(location.hash.slice(1)) : null);
  document.addEventListener("keydown", (event) => {
    const item = open();
    if (!item || event.target.matches("input")) return;
    if (event.key === "Escape") {
      location.hash = "#qc";
      item.querySelector("a.zoom").focus({ preventScroll: true });
    }
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) {
      const visible = items.filter((other) => !other.hidden);
      const next = visible[(visible.indexOf(item) + step + visible.length) % visible.length];
      location.hash = "#" + next.id;
      event.preventDefault();
    }
  });
})();
