// What can be measured on a page, for tests/browser/: each function names the elements that break a promise.
"use strict";

window.measure = (() => {
  const CONTROLS = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']";
  const TAPPED = "a[href], button, input:not([type=hidden]), select, textarea, summary";

  let walked = [];
  let swappedAt = null;
  document.addEventListener("htmx:sseMessage", () => (swappedAt = performance.now()));

  const shown = (element) => element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true });

  // Out of sight for eyes and fingers, there for screen readers only.
  const unseen = (element) => {
    const box = element.getBoundingClientRect();
    return box.width <= 1 || box.height <= 1;
  };

  const name = (element) => {
    const words = (element.innerText || element.getAttribute("aria-label") || element.name || "").trim().slice(0, 40);
    const kind = element.tagName.toLowerCase() + (element.className && typeof element.className === "string" ? `.${element.className.replaceAll(" ", ".")}` : "");
    return `${kind} "${words.replaceAll("\n", " ")}"`;
  };

  const controls = () => [...document.querySelectorAll(CONTROLS)].filter((element) => shown(element) && !unseen(element) && !element.disabled);

  return {
    // Comes true when the live parts that a stream sends at its beginning, if any, have all been swapped in.
    async settled() {
      const live = document.querySelector("[sse-connect]");
      while (live && performance.now() < (swappedAt === null ? 1500 : swappedAt + 200)) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      return true;
    },

    openEverything() {
      for (const details of document.querySelectorAll("details")) details.open = true;
    },

    // Controls that a finger misses; what is tapped of a tick box is its label.
    smallTargets(leastPx) {
      return [...document.querySelectorAll(TAPPED)].filter((element) => shown(element) && !unseen(element)).flatMap((element) => {
        const ticked = ["checkbox", "radio"].includes(element.type) && element.closest("label");
        const box = (ticked || element).getBoundingClientRect();
        if (box.width >= leastPx - 0.5 && box.height >= leastPx - 0.5) return [];
        return [`${name(element)} is ${Math.round(box.width)} × ${Math.round(box.height)}`];
      });
    },

    smallText(leastPx) {
      const found = new Set();
      const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !shown(element) || unseen(element)) continue;
        if (["SCRIPT", "STYLE", "NOSCRIPT", "OPTION"].includes(element.tagName)) continue;
        if (element.closest("svg[role=img]")) continue; // a chart: its numbers are also in a table
        const size = parseFloat(getComputedStyle(element).fontSize);
        if (size < leastPx - 0.01) found.add(`${name(element)} has ${size.toFixed(1)} px`);
      }
      return [...found];
    },

    // What makes the page itself wider than its window; tables may scroll in a box of their own.
    overflow() {
      const root = document.documentElement;
      if (root.scrollWidth <= root.clientWidth) return [];
      const scrolls = (element) => element && (["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(element).overflowX) || scrolls(element.parentElement));
      const beyond = [...document.body.querySelectorAll("*")].filter((element) => shown(element) && !scrolls(element.parentElement) && element.getBoundingClientRect().right > root.clientWidth + 0.5);
      return [`${root.scrollWidth} of ${root.clientWidth} px: ${beyond.slice(0, 3).map(name).join(", ")}`];
    },

    // For the walk with the Tab key: numbers every control, so that each can be told again when it has the focus.
    numberControls() {
      const all = controls();
      all.forEach((element, number) => (element.dataset.control = number));
      document.activeElement?.blur();
      return all.map((element) => ({ name: name(element), group: element.type === "radio" ? element.name : "" }));
    },

    // Each focus from now on, as `focused` returns it: a walk by keyboard needs no question after each step.
    followFocus() {
      walked = [];
      addEventListener("focusin", () => walked.push(this.focused()));
    },

    takeWalked() {
      return walked.splice(0);
    },

    focused() {
      const element = document.activeElement;
      const style = getComputedStyle(element);
      const ofItsOwn = ["date", "month", "time"].includes(element.type); // the browser marks the part that is edited
      const ring = ofItsOwn || style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
      return { control: element.dataset.control === undefined ? null : Number(element.dataset.control), visible: ring || style.boxShadow !== "none" };
    },
  };
})();
