"use strict";
// Sorting and filtering; the page is complete without it. What is chosen is kept in the address, over each reload.
const table = document.querySelector("table");
const body = table.tBodies[0];
const rows = Array.from(body.rows);
const buttons = Array.from(table.tHead.querySelectorAll("button"));
const filter = document.getElementById("filter");
const boxes = Array.from(document.querySelectorAll("input[name=status]"));
const shown = document.getElementById("shown");
const texts = rows.map((row) => row.textContent.toLowerCase());
let sorted = -1;
let descending = false;

function apply() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
  let count = 0;
  rows.forEach((row, at) => {
    const isShown = wanted.has(row.dataset.status) && words.every((word) => texts[at].includes(word));
    row.hidden = !isShown;
    count += isShown;
  });
  shown.textContent = `${count} of ${rows.length}`;
  const off = boxes.filter((box) => !box.checked).map((box) => box.value);
  const state = new URLSearchParams({ q: filter.value, off: off.join(","), by: sorted, down: descending ? 1 : 0 });
  history.replaceState(null, "", `#${state}`);
}

function key(row, column) {
  const cell = row.cells[column];
  const value = cell.dataset.sort;
  if (value === undefined) return cell.textContent.trim();
  return value === "" ? Infinity : Number(value);
}

function sort() {
  if (sorted < 0) return;
  const keyed = rows.map((row) => [key(row, sorted), row]);
  const order = new Intl.Collator("en", { numeric: true });
  keyed.sort(([a], [b]) => (typeof a === "number" ? (a === b ? 0 : a < b ? -1 : 1) : order.compare(a, b)));
  if (descending) keyed.reverse();
  body.append(...keyed.map(([, row]) => row));
  buttons.forEach((button, at) => {
    const value = at === sorted ? (descending ? "descending" : "ascending") : "none";
    button.closest("th").setAttribute("aria-sort", value);
  });
}

buttons.forEach((button, at) => {
  button.disabled = false;
  button.addEventListener("click", () => {
    descending = sorted === at && !descending;
    sorted = at;
    sort();
    apply();
  });
});
filter.addEventListener("input", apply);
boxes.forEach((box) => box.addEventListener("change", apply));

const before = new URLSearchParams(location.hash.slice(1));
filter.value = before.get("q") ?? "";
const off = new Set((before.get("off") ?? "").split(","));
boxes.forEach((box) => { box.checked = !off.has(box.value); });
const by = Number(before.get("by") ?? -1);
if (Number.isInteger(by) && by >= 0 && by < buttons.length) {
  sorted = by;
  descending = before.get("down") === "1";
  sort();
}
document.getElementById("controls").hidden = false;
apply();
