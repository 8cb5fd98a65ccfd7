// Extras of the pages: local times, values at the pointer in charts, search in the log, and a
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
  for (const label of document.querySelectorAll(".trend text.x")) {
    const text = label.textContent, at = local(new Date(label.dataset.at * 1000), true);
    if (text.length === 8) label.textContent = at.slice(11);
    else if (text.length === 11) label.textContent = at.slice(5, 16);
  }
  const footer = document.getElementById("zone");
  if (footer && zone) footer.textContent = `times are ${zone}`;
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

function crosshair(group) {
  const charts = [...group.querySelectorAll("figure[data-chart]")].map(charted);
  const showAll = (index) => charts.forEach((chart) => show(chart, index));
  for (const chart of charts) {
    const { data, plot } = chart;
    if (!data.x.length) continue;
    const open = (index) => { if (data.runs && index !== null) location.href = `/runs/${data.runs[index]}`; };
    const at = (event) => {
      const box = plot.getBoundingClientRect();
      return nearest(data.x, ((event.clientX - box.left) / box.width) * 1000);
    };
    plot.addEventListener("pointermove", (event) => showAll(at(event)));
    plot.addEventListener("pointerleave", () => showAll(null));
    plot.addEventListener("blur", () => showAll(null));
    plot.addEventListener("click", (event) => { if (!event.target.closest("a")) open(at(event)); });
    plot.addEventListener("keydown", (event) => {
      const last = data.x.length - 1, now = chart.at ?? last;
      const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last }[event.key];
      if (event.key === "Enter" && event.target === plot) open(chart.at);
      if (event.key === "Escape") showAll(null);
      if (to === undefined) return;
      event.preventDefault();
      showAll(Math.min(Math.max(to, 0), last));
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
document.querySelectorAll(".log").forEach(searchLog);
localTimes();
