// What htmx and uPlot use and the oldest browsers of the bundle (OLDEST_BROWSERS in tools/bundle.py) do not have.
// esbuild lowers syntax to them, and adds no function. Imported first: both libraries use these while they load.

// Chrome before 69; htmx flattens one level, without an argument
if (!Array.prototype.flat) {
  Array.prototype.flat = function () {
    return [].concat(...this);
  };
}

// Chrome before 73, Safari before 12.1
if (!Object.fromEntries) {
  Object.fromEntries = (entries) => {
    const made = {};
    for (const [name, value] of entries) made[name] = value;
    return made;
  };
}

// Chrome before 71, Safari before 12.1, Firefox before 69
if (typeof queueMicrotask === "undefined") {
  window.queueMicrotask = (task) => Promise.resolve().then(task);
}

// Safari before 14: uPlot waits for another screen's pixels, and without this would not load at all
const lists = window.MediaQueryList && MediaQueryList.prototype;
if (lists && !lists.addEventListener) {
  lists.addEventListener = function (_type, listener) {
    this.addListener(listener);
  };
  lists.removeEventListener = function (_type, listener) {
    this.removeListener(listener);
  };
}
