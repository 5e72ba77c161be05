// What a reader can do with a page: sort, filter, pick a quantity, read values, save figures.
// All of it is in the page without this script, too.
"use strict";
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const make = (name, values) => Object.assign(document.createElement(name), values);

// Sorting of tables: a button in each header cell, the state in aria-sort.
for (const table of all("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = make("button", { type: "button" });
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = row => row.cells[column].dataset.v ?? row.cells[column].textContent.trim();
      const rows = [...body.rows].map(row => [key(row), row]);
      body.append(...rows.sort(([a], [b]) => compare(a, b, up)).map(([, row]) => row));
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

// The filter by method and level, and in each model the choice of a quantity.
const controls = document.querySelector(".controls");
const levels = all("button[data-show]");
const pressed = button => button.getAttribute("aria-pressed") === "true";
const method = document.querySelector("select.methods");
const parts = all("main [data-method], main [data-level], main [data-quantity], aside [data-level]");

function refresh() {
  const wanted = levels.filter(pressed).map(b => b.dataset.show);
  const picked = new Map(all("select.quantity").map(s => [s.closest("section"), s.value]));
  let shown = 0, total = 0;
  for (const part of parts) {
    const { method: own, level, quantity } = part.dataset;
    const wrong = (method?.value && own && own !== method.value)
      || (wanted.length && level && !wanted.includes(level));
    const pick = picked.get(part.closest("section.model"));
    const aside = quantity !== undefined && (pick ? quantity !== pick : "extra" in part.dataset);
    // The cells of a table keep their places.
    if (part.tagName === "TD") part.classList.toggle("out", Boolean(wrong));
    else part.hidden = Boolean(wrong || aside);
    if (part.tagName === "TBODY") {
      total += 1;
      shown += wrong ? 0 : 1;
    }
  }
  for (const note of all("[data-drawn]")) {
    const pick = picked.get(note.closest("section.model"));
    note.hidden = !pick || JSON.parse(note.dataset.drawn).includes(pick);
  }
  if (controls) controls.querySelector("[role=status]").textContent =
    shown < total ? `${shown} of ${total} verdicts shown` : `all ${total} verdicts shown`;
}
for (const button of levels) button.addEventListener("click", () => {
  button.setAttribute("aria-pressed", String(!pressed(button)));
  refresh();
});
for (const select of all("select")) {
  select.closest("label").hidden = false;
  select.value = "";
  select.addEventListener("change", refresh);
}
if (controls) {
  controls.hidden = false;
  controls.open = matchMedia("(min-width: 1100px)").matches;
}
refresh();

// The tip: the figures of a drawing, the value under the pointer, or what a term means.
const tip = document.body.appendChild(make("div", { className: "tip", hidden: true }));
const placed = (x, y) => {
  tip.hidden = false;
  const { offsetWidth: width, offsetHeight: height } = tip;
  tip.style.left = `${Math.max(8, Math.min(x + 14, document.documentElement.clientWidth - width - 8))}px`;
  tip.style.top = `${y + 18 + height < innerHeight ? y + 18 : Math.max(8, y - height - 12)}px`;
};
const leave = () => { tip.hidden = true; };

function valueAt(svg, event) {
  const box = svg.getBoundingClientRect();
  const said = [];
  for (const which of ["x", "y"]) {
    if (!svg.dataset[which]) continue;
    const [start, end, low, high] = svg.dataset[which].split(" ").map(Number);
    const at = which === "x" ? (event.clientX - box.left) / box.width
      : (event.clientY - box.top) / box.height;
    const share = (at - start) / (end - start);
    if (share < 0 || share > 1) return "";
    const log = svg.dataset[which].endsWith("log");
    const value = log ? low * (high / low) ** share : low + (high - low) * share;
    const name = svg.dataset[`${which}Name`] ?? which;
    said.push(`${name} = ${String(Number(value.toPrecision(3))).replace("-", "−")}`);
  }
  return said.join(", ");
}
function tell(svg, x, y, value = "") {
  tip.replaceChildren(make("b", { textContent: value }), " ", svg.getAttribute("aria-label"));
  placed(x, y);
}
for (const svg of all("figure svg")) {
  svg.addEventListener("pointermove", e => tell(svg, e.clientX, e.clientY, valueAt(svg, e)));
  svg.addEventListener("pointerleave", leave);
  const caption = svg.closest("figure").querySelector("figcaption");
  const title = caption.querySelector(".pt").textContent;
  const button = make("button", { type: "button", className: "save", textContent: "SVG" });
  button.setAttribute("aria-label", `Save ${title} as SVG`);
  button.addEventListener("click", () => save(svg, title));
  button.addEventListener("focus", () => {
    const box = svg.getBoundingClientRect();
    if (button.matches(":focus-visible")) tell(svg, box.left, box.bottom - 18);
  });
  button.addEventListener("blur", leave);
  caption.prepend(button);
}

// A drawing takes its font and background from the page; its file has them itself.
function save(svg, title) {
  const copy = svg.cloneNode(true);
  const { width, height } = svg.viewBox.baseVal;
  const inside = (name, values, text) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(values)) node.setAttribute(key, value);
    node.textContent = text;
    return node;
  };
  copy.setAttribute("viewBox", `0 -16 ${width} ${height + 16}`);
  copy.setAttribute("height", Math.round(Number(copy.getAttribute("height")) * (1 + 16 / height)));
  copy.setAttribute("font-family", "Roboto, Arial, sans-serif");
  copy.prepend(
    inside("title", {}, title),
    inside("desc", {}, svg.getAttribute("aria-label")),
    inside("style", {}, "*{stroke-linejoin:round;stroke-linecap:butt}"),
    inside("rect", { y: -16, width, height: height + 16, fill: "#fff" }, ""),
    inside("text", { x: 4, y: -5, "font-size": 9, "font-weight": 600, fill: "#1f2328" }, title));
  const text = new XMLSerializer().serializeToString(copy);
  const model = svg.closest("section")?.id ?? "";
  const name = `${model}-${title}`.replace(/[^\p{L}\p{N}_]+/gu, "-").replace(/^model-|-$/g, "");
  const href = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  make("a", { href, download: `${name}.svg` }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10000);
}

for (const term of all("a.term")) {
  const explain = () => {
    const box = term.getBoundingClientRect();
    const [plain, meaning] = document.getElementById(term.hash.slice(1)).children;
    tip.replaceChildren(make("b", { textContent: plain.textContent }), ": ", meaning.firstChild.data);
    placed(box.left - 14, box.bottom - 12);
  };
  for (const kind of ["pointerenter", "focus"]) term.addEventListener(kind, explain);
  for (const kind of ["pointerleave", "blur"]) term.addEventListener(kind, leave);
}
addEventListener("keydown", event => { if (event.key === "Escape") leave(); });
addEventListener("scroll", () => {
  const active = document.activeElement;
  // Tabbing to what is out of sight scrolls there: the tip goes along.
  if (!tip.hidden && active.matches(".term, .save")) active.dispatchEvent(new Event("focus"));
  else leave();
}, { passive: true });

// A link into what is folded opens it; the contents mark the model that is on the screen.
function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let e = target; e; e = e.parentElement) if (e.tagName === "DETAILS") e.open = true;
  target?.scrollIntoView();
}
addEventListener("hashchange", reveal);
if (location.hash) reveal();
const links = new Map(all("aside a.model").map(a => [a.hash.slice(1), a]));
const watch = new IntersectionObserver(entries => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) links.get(target.id).setAttribute("aria-current", "true");
    else links.get(target.id).removeAttribute("aria-current");
  }
}, { rootMargin: "-15% 0px -84% 0px" });
for (const id of links.keys()) watch.observe(document.getElementById(id));
