// Extras of the pages: local times, values and ranges in charts, search in the log, and a
// question before what cannot be taken back. Without this script, pages show all the same in UTC.
"use strict";

const MONTH = { year: "numeric", month: "2-digit", day: "2-digit" };
const CLOCK = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };

function local(date, withSeconds) {
  const form = { ...MONTH, ...CLOCK, ...(withSeconds ? { second: "2-digit" } : {}) };
  const parts = Object.fromEntries(new Intl.DateTimeFormat("en", form).formatToParts(date).map((p) => [p.type, p.value]));
  const time = `${parts.hour}:${parts.minute}${withSeconds ? `:${parts.second}` : ""}`;
  return `${parts.year}-${parts.month}-${parts.day} ${time}`;
}

function localTimes() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  for (const time of document.querySelectorAll("time[datetime]")) {
    const text = local(new Date(time.dateTime), true);
    if ("ago" in time.dataset || "lasting" in time.dataset) time.title = text;
    else time.textContent = text;
  }
  for (const option of document.querySelectorAll("option[data-at]")) {
    option.textContent = local(new Date(option.dataset.at), true) + option.textContent.slice(19);
  }
  document.querySelectorAll("figure.trend").forEach(localAxis);
  const footer = document.getElementById("zone");
  if (footer && zone) footer.textContent = `times are ${zone}`;
}

// The labels of a trend's time axis are "HH:MM:SS", "MM-DD HH:MM" or a day, in UTC. A day's label
// moves to where that day begins for the viewer.
function localAxis(figure) {
  const { share } = scales(JSON.parse(figure.dataset.chart));
  for (const label of figure.querySelectorAll("text.x")) {
    const text = label.textContent, at = local(new Date(label.dataset.at * 1000), true);
    if (text.length === 8) label.textContent = at.slice(11);
    else if (text.length === 11) label.textContent = at.slice(5, 16);
    else moveTo(label, share(new Date(`${text}T00:00:00`) / 1000) / 10);
  }
}

function moveTo(label, percent) {
  const tick = label.previousElementSibling, seen = percent >= 0 && percent <= 100;
  label.setAttribute("x", `${percent}%`);
  for (const end of ["x1", "x2"]) tick.setAttribute(end, `${percent}%`);
  for (const one of [label, tick]) one.style.display = seen ? "" : "none";
  label.classList.toggle("last", percent > 94);
}

// Of a trend: the place of a time, from 0 to 1000, and the time at a place.
function scales({ x, at }) {
  const last = x.length - 1, perSecond = (x[last] - x[0]) / (at[last] - at[0] || 1);
  return { share: (time) => x[0] + (time - at[0]) * perSecond, time: (place) => at[0] + (place - x[0]) / (perSecond || 1) };
}

// Charts: a line at the pointer through all charts of one group, and the values there as text.
const SVG = "http://www.w3.org/2000/svg";

function charted(figure) {
  const data = JSON.parse(figure.dataset.chart);
  const plot = figure.querySelector("svg.plot"), line = document.createElementNS(SVG, "line");
  line.setAttribute("class", "cursor");
  line.setAttribute("y1", 0);
  line.setAttribute("y2", plot.getAttribute("height") - 24);
  line.style.display = "none";
  plot.append(line);
  plot.tabIndex = 0;
  return { figure, data, plot, line, now: figure.querySelector("output"), at: null };
}

function show(chart, index) {
  const { data, line, now } = chart;
  chart.at = index;
  line.style.display = index === null ? "none" : "";
  if (index === null) { now.textContent = ""; return; }
  const x = `${data.x[index] / 10}%`;
  line.setAttribute("x1", x);
  line.setAttribute("x2", x);
  const when = data.texts ? data.texts[index] : local(new Date(data.at[index] * 1000));
  const values = data.series.map((one) => `${one.name} ${one.values[index]}`.trim());
  now.textContent = `${when}: ${values.join(" · ")}`;
}

function nearest(places, x) {
  let low = 0, high = places.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (places[middle] < x) low = middle; else high = middle;
  }
  return x - places[low] < places[high] - x ? low : high;
}

// A range of a trend: dragged, or chosen with Shift and an arrow key and opened with Enter.
function ranges(chart) {
  const { data, plot, now } = chart, box = document.createElementNS(SVG, "rect");
  box.setAttribute("class", "choice");
  box.setAttribute("y", 0);
  box.setAttribute("height", chart.line.getAttribute("y2"));
  plot.append(box);
  const { time } = scales(data);
  let from = null, to = null;
  const inside = () => data.x.filter((x) => x >= Math.min(from, to) && x <= Math.max(from, to)).length;
  const draw = () => {
    box.style.display = from === null ? "none" : "";
    if (from === null) return;
    box.setAttribute("x", `${Math.min(from, to) / 10}%`);
    box.setAttribute("width", `${Math.abs(to - from) / 10}%`);
    const [a, b] = [from, to].sort((one, other) => one - other).map((x) => local(new Date(time(x) * 1000)));
    now.textContent = `${a} to ${b}: ${inside()} ${inside() === 1 ? "run" : "runs"}`;
  };
  draw();
  return {
    set: (a, b) => { from = Math.min(Math.max(a, 0), 1000); to = Math.min(Math.max(b, 0), 1000); draw(); },
    clear: () => { from = to = null; draw(); },
    get chosen() { return from !== null; },
    open: () => {
      if (inside() < 2) { now.textContent = "A range needs two runs."; return; }
      const address = new URL(location.href), iso = (s) => new Date(s * 1000).toISOString().slice(0, 19) + "Z";
      address.searchParams.set("since", iso(Math.floor(time(Math.min(from, to)))));
      address.searchParams.set("until", iso(Math.ceil(time(Math.max(from, to))) + 1));
      location.href = address;
    },
  };
}

const LEAST_DRAG = 8; // pixels; less is a click

function dragged(chart, range, place) {
  const { plot } = chart;
  let start = null, moved = false;
  plot.addEventListener("dragstart", (event) => event.preventDefault());
  plot.addEventListener("pointerdown", (event) => { if (event.button === 0) { start = event; moved = false; } });
  plot.addEventListener("pointermove", (event) => {
    if (start === null || (!moved && Math.abs(event.clientX - start.clientX) < LEAST_DRAG)) return;
    if (!moved) plot.setPointerCapture(event.pointerId);
    moved = true;
    range.set(place(start), place(event));
  });
  plot.addEventListener("pointerup", () => { start = null; if (moved) range.open(); });
  plot.addEventListener("pointercancel", () => { start = null; moved = false; range.clear(); });
  plot.addEventListener("click", (event) => {
    if (!moved) return;
    moved = false;
    range.clear();
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);
}

function crosshair(group) {
  const charts = [...group.querySelectorAll("figure[data-chart]")].map(charted);
  const showAll = (index) => charts.forEach((chart) => show(chart, index));
  for (const chart of charts) {
    const { data, plot } = chart;
    if (!data.x.length) continue;
    let anchor = null; // where a range began that Shift and an arrow key choose
    const open = (index) => { if (data.runs && index !== null) location.href = `/runs/${data.runs[index]}`; };
    const place = (event) => {
      const box = plot.getBoundingClientRect();
      return ((event.clientX - box.left) / box.width) * 1000;
    };
    const at = (event) => nearest(data.x, place(event));
    const range = data.runs ? ranges(chart) : null;
    plot.addEventListener("pointermove", (event) => showAll(at(event)));
    if (range) dragged(chart, range, place);
    plot.addEventListener("pointerleave", () => showAll(null));
    plot.addEventListener("blur", () => showAll(null));
    plot.addEventListener("click", (event) => { if (!event.target.closest("a")) open(at(event)); });
    plot.addEventListener("keydown", (event) => {
      const last = data.x.length - 1, now = chart.at ?? last;
      const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last }[event.key];
      if (event.key === "Enter" && event.target === plot) { if (range?.chosen) range.open(); else open(chart.at); }
      if (event.key === "Escape") { range?.clear(); showAll(null); anchor = null; }
      if (to === undefined) return;
      event.preventDefault();
      const next = Math.min(Math.max(to, 0), last);
      anchor = event.shiftKey ? (anchor ?? Math.min(Math.max(now, 0), last)) : null;
      showAll(next);
      if (anchor !== null && range) range.set(data.x[anchor], data.x[next]); else range?.clear();
    });
    if (data.runs) plot.classList.add("opens");
  }
}

// The log: lines that hold a text, of a level or worse.
const LEVELS = ["debug", "info", "warn", "error"];

function level(line) {
  const found = /\blevel="?(\w+)/.exec(line);
  const name = found ? found[1].replace("warning", "warn").replace(/fatal|panic/, "error") : "info";
  return Math.max(LEVELS.indexOf(name), 0);
}

function searchLog(box) {
  const pre = box.querySelector("pre"), lines = pre.textContent.trimEnd().split("\n");
  const form = document.getElementById("log-search"), count = form.querySelector("output");
  const draw = () => {
    const text = form.elements.find.value.toLowerCase(), least = Number(form.elements.level.value);
    const shown = lines.filter((line) => level(line) >= least && line.toLowerCase().includes(text));
    pre.textContent = shown.join("\n");
    count.textContent = shown.length === lines.length ? "" : `${shown.length} of ${lines.length} lines`;
  };
  form.hidden = false;
  form.addEventListener("input", draw);
  form.addEventListener("change", draw);
  form.addEventListener("submit", (event) => event.preventDefault());
}

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.ask;
  if (question && !confirm(question)) event.preventDefault();
});
document.querySelectorAll("select[data-now]").forEach((select) => select.addEventListener("change", () => select.form.submit()));
document.querySelectorAll(".charts").forEach(crosshair);
document.querySelectorAll("[data-extra]").forEach((one) => { one.hidden = false; });
document.querySelectorAll(".log").forEach(searchLog);
localTimes();
