// What the server's "queue" events say, drawn anew with each; nothing is remembered here, so a page
// is right whenever it was loaded. Without this script, pages show the state as of their loading.
// Texts go in as text, never as HTML.
"use strict";

const live = document.getElementById("live");
const pending = document.getElementById("pending");
const ended = document.getElementById("ended");
const retries = document.getElementById("retries");
const held = document.getElementById("held");
const compact = live.dataset.compact === "1";
const only = live.dataset.script; // the page of one script

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function seconds(value) {
  const s = Math.round(value);
  return s < 60 ? `${s} s` : `${Math.floor(s / 60)} m ${s % 60} s`;
}

function number(value) {
  if (value === null || value === undefined) return "–";
  const digits = value < 100 ? { maximumSignificantDigits: 3 } : { maximumFractionDigits: 0 };
  return Number(value).toLocaleString("en", digits);
}

function moment(text) {
  return local(new Date(text), true); // as page.js writes times
}

function cancel(job, className = "") {
  const form = element("form", { method: "post", action: `/queue/${encodeURIComponent(job.job)}/cancel` });
  form.dataset.ask = `Cancel ${job.script}?`;
  const named = element("span", { className: "hidden", textContent: ` ${job.script}` });
  form.append(element("button", { className }, "Cancel", named));
  return form;
}

const seen = {}; // requests per second of each job while this page is open

function spark(job) {
  const rates = (seen[job.job] ??= []);
  rates.push(job.live.requests_per_second ?? 0);
  if (rates.length > 120) rates.shift();
  const top = Math.max(...rates) || 1, step = 120 / Math.max(rates.length - 1, 1);
  const points = rates.map((rate, i) => `${(i * step).toFixed(1)},${(22 - (rate / top) * 20).toFixed(1)}`);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  for (const [name, value] of [["viewBox", "0 0 120 24"], ["width", 120], ["height", 24], ["class", "spark"], ["role", "img"], ["aria-label", "requests per second so far"]]) svg.setAttribute(name, value);
  line.setAttribute("points", points.join(" "));
  svg.append(line);
  return svg;
}

function card(job) {
  const box = element("article", { className: "job" });
  const of = job.planned_s ? ` of ${seconds(job.planned_s)}` : "";
  box.append(element("h2", { textContent: job.script }));
  box.append(element("p", { className: "dim", textContent: `${job.state} · ${job.trigger} · ${seconds(job.elapsed_s)}${of}` }));
  if (job.planned_s) {
    const bar = element("progress", { max: job.planned_s, value: Math.min(job.elapsed_s, job.planned_s) });
    bar.setAttribute("aria-label", `progress of ${job.script}`);
    box.append(bar);
  }
  if (job.live) {
    const list = element("dl", { className: "numbers" });
    const p95 = job.live.p95_ms === null ? "–" : `${number(job.live.p95_ms)} ms`;
    for (const [name, value] of [
      ["Requests", number(job.live.requests)], ["Requests/s", number(job.live.requests_per_second)],
      ["Failed", number(job.live.failed)], ["p95 now", p95], ["Virtual users", number(job.live.vus)],
    ]) list.append(element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value })));
    box.append(list, spark(job));
  }
  if (!compact) box.append(cancel(job));
  return box;
}

function keepFocus(change) {
  // A list that is drawn anew each second must not take the keyboard's place away.
  const action = document.activeElement?.closest("form")?.getAttribute("action");
  change();
  if (action) document.querySelector(`form[action="${CSS.escape(action)}"] button`)?.focus();
}

function waiting(job) {
  return element("li", {}, `${job.script} `, element("span", { className: "dim", textContent: job.trigger }), " ", cancel(job, "plain"));
}

function over(job) {
  const item = element("li");
  if (job.test_id) {
    item.append(element("a", { href: `/runs/${encodeURIComponent(job.test_id)}`, textContent: job.script }), " ");
    item.append(element("span", { className: `badge v-${job.verdict.replaceAll(" ", "-")}`, textContent: job.verdict }));
  } else item.append(`${job.script} ${job.error}`);
  item.append(" ", element("span", { className: "dim", textContent: moment(job.ended) }));
  return item;
}

function retry(job) {
  const when = job.at ? `again at ${moment(job.at)}` : "again as soon as it can";
  const tries = job.tries === 1 ? "1 try" : `${job.tries} tries`;
  return element("li", {}, `${job.script}: ${job.reason} `, element("span", { className: "dim", textContent: `${tries}, ${when}` }));
}

function list(place, kind, jobs, draw, none) {
  // Drawn only when it is not what it was: it would be read out again each second.
  const now = JSON.stringify(jobs);
  if (place.dataset.now === now || (!jobs.length && !place.querySelector("li"))) return;
  place.dataset.now = now;
  const drawn = jobs.length ? element(kind, {}, ...jobs.map(draw)) : element("p", { textContent: none });
  place.replaceChildren(drawn);
}

// Says that a run has ended that this page does not show. Put in once: a link that is drawn anew
// each second would lose the focus.
const note = element("p", {}, "A run has ended. ", element("a", { href: location.href, textContent: "Show its result" }));

function writing() {
  // Loading the page again would lose what a person is typing.
  return document.activeElement?.matches("input, select") || document.querySelector("main details[open] form") !== null;
}

const source = new EventSource("/api/v1/live");
source.addEventListener("queue", (event) => keepFocus(() => {
  const queue = JSON.parse(event.data);
  const running = queue.running.filter((job) => !only || job.script === only);
  for (const job of Object.keys(seen)) if (!running.some((one) => one.job === job)) delete seen[job];
  live.replaceChildren(...running.map(card));
  if (compact) {
    // Another script's run may have ended since; after a restart of the daemon there is none.
    const last = queue.ended.find((job) => !only || job.script === only);
    if (last && last.job !== live.dataset.ended) {
      live.dataset.ended = last.job;
      if (!writing()) location.reload();
      if (!note.isConnected) live.after(note);
    }
    live.hidden = running.length === 0;
    if (queue.pending.length && !only) live.append(element("p", { className: "dim", textContent: `${queue.pending.length} pending` }));
    return;
  }
  if (!queue.running.length) live.append(element("p", { textContent: "No run is under way." }));
  held.hidden = !queue.held;
  held.textContent = queue.held ? `Nothing starts now: ${queue.held}` : "";
  list(retries, "ul", queue.retries, retry, "No run is being tried again.");
  list(pending, "ol", queue.pending, waiting, "No run is pending.");
  list(ended, "ul", queue.ended, over, "Nothing has ended since k6d started.");
}));
