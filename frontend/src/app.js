// Live pages: htmx with server-sent events swaps parts that the server rendered. Without this file every page
// still works, by reloading; what only makes sense without it is hidden here.
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

// A second tap while the first is on its way would only show a refusal.
document.addEventListener("submit", (event) => {
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "yes";
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
