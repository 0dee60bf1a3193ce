// The power curve of a charge: takes the place of the line that the server drew, and grows while it charges.
// What uPlot needs of a style sheet is in site.css.
import uPlot from "uplot";

const REFRESH_MS = 10_000;
const HEIGHT = 180;
const NARROWEST = 240;

const rootPx = () => parseFloat(getComputedStyle(document.documentElement).fontSize);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// The server sends the ticks of both scales with the points: every chart of the product has them from one place.
function options(width, ticks) {
  const textPx = Math.round(rootPx() * 0.79); // as large as the page's small print
  const axis = {
    stroke: colour("--ink-soft"),
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { stroke: colour("--line"), width: 1 },
    font: `${textPx}px sans-serif`,
  };
  return {
    width,
    height: HEIGHT,
    padding: [8, 18, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: {
      x: { time: false, range: (_plot, _low, high) => [0, high] },
      y: { range: () => [0, ticks.watts[ticks.watts.length - 1]] },
    },
    axes: [
      { ...axis, splits: () => ticks.minutes.map((minute) => 60 * minute), values: () => ticks.minutes, size: 2.3 * textPx },
      { ...axis, splits: () => ticks.watts, size: 3.4 * textPx },
    ],
    series: [{}, { stroke: colour("--accent"), fill: colour("--accent-faint"), width: 2, points: { show: false } }],
  };
}

function draw(figure) {
  const holder = figure.querySelector("[data-line]");
  const { points, ...ticks } = JSON.parse(figure.dataset.plot);
  let plot = null;
  const width = () => Math.max(NARROWEST, holder.clientWidth);

  const show = () => {
    if (points.length < 2) return;
    const data = [points.map((point) => point[0]), points.map((point) => point[1])];
    if (plot) {
      plot.setData(data);
    } else {
      figure.hidden = false; // before its width is measured
      while (holder.firstChild) holder.removeChild(holder.firstChild);
      plot = new uPlot(options(width(), ticks), data, holder);
    }
  };

  const fetchMore = async () => {
    const after = points.length ? points[points.length - 1][0] : -1;
    const answer = await fetch(`${figure.dataset.curve}?after=${after}`);
    if (!answer.ok) return;
    const { points: more, ...scales } = await answer.json();
    points.push(...more);
    Object.assign(ticks, scales);
    show();
  };

  const refresh = async () => {
    if (!document.contains(figure)) return;
    try {
      await fetchMore();
    } catch {
      // no network: the next round tries again, and the page says that it is offline
    }
    if ("growing" in figure.dataset) setTimeout(refresh, REFRESH_MS);
  };

  addEventListener("resize", () => plot?.setSize({ width: width(), height: HEIGHT }));
  show();
  if ("growing" in figure.dataset) setTimeout(refresh, REFRESH_MS);
}

function drawNew() {
  for (const figure of document.querySelectorAll("[data-curve]:not([data-drawn])")) {
    figure.dataset.drawn = "yes";
    draw(figure);
  }
}

drawNew();
document.addEventListener("htmx:load", drawNew);
