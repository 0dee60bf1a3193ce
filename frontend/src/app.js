// Live pages: htmx with server-sent events swaps parts that the server rendered. Without this file every page
// still works, by reloading; what only makes sense without it is hidden here.
import "./old.js";
import htmx from "htmx.org";
import "htmx-ext-sse";

const root = document.documentElement;
root.classList.add("scripted");

// The strict content security policy allows neither eval nor style elements, and nothing here needs them.
htmx.config.allowEval = false;
htmx.config.includeIndicatorStyles = false;
htmx.config.selfRequestsOnly = true;

// Numbers that may be old are marked as such until the stream is back.
document.addEventListener("htmx:sseError", () => root.classList.add("offline"));
document.addEventListener("htmx:sseOpen", () => root.classList.remove("offline"));
document.addEventListener("htmx:sseClose", () => root.classList.remove("offline"));

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-print]")) window.print();
});

// A second tap while the first is on its way would only show a refusal. This goes for forms that do something; one
// that only asks (a filter) may be sent again and again: where its address is the page's own, with a place in it
// (#sums), no page is loaded that would set it free. And an answer that never comes frees a form after a while.
const ON_ITS_WAY_MS = 10_000;

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || event.defaultPrevented) return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "yes";
  setTimeout(() => delete form.dataset.sent, ON_ITS_WAY_MS);
});
window.addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});

// A countdown goes on by itself between two words of the server, which sets it right.
const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;

function countDown() {
  for (const shown of document.querySelectorAll("[data-countdown]")) {
    shown.since ??= performance.now();
    const left = Math.max(0, shown.dataset.countdown - Math.floor((performance.now() - shown.since) / 1000));
    shown.textContent = clock(left);
    const bar = shown.closest("section")?.querySelector("progress");
    if (bar) bar.value = left;
  }
}
setInterval(countDown, 1000);
