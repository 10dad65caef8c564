/** Line charts as inline SVG: no library, no network, readable in any browser and on paper. */
import { formatNumber } from "../../base/units.ts";
import { escapeHtml } from "./html.ts";
import { smooth, thin } from "./points.ts";

/** Step and value. */
export type Point = readonly [x: number, y: number];

export interface Series {
  readonly label: string;
  readonly points: readonly Point[];
  /** Marks every point: for values that are measured now and then. */
  readonly dots?: boolean;
  /** Draws every value faintly and a moving average over it. */
  readonly smooth?: boolean;
}

export interface ChartOptions {
  readonly title: string;
  readonly unit: string;
  readonly series: readonly Series[];
  /** The vertical axis begins at 0, so that heights compare. */
  readonly fromZero?: boolean;
}

const [width, height] = [480, 230];
const margin = { left: 56, right: 12, top: 12, bottom: 42 };
/** More points than pixels only make the file large. */
const mostPoints = 600;

/** A figure, or nothing where no series has a finite value. */
export function renderChart({ title, unit, series, fromZero = false }: ChartOptions): string {
  const drawn = series
    .map((one) => ({ ...one, points: one.points.filter(([, y]) => Number.isFinite(y)) }))
    .filter(({ points }) => points.length > 0);
  const points = drawn.flatMap((one) => one.points);
  if (points.length === 0) return "";
  const [xLow, xHigh] = extent(points.map(([x]) => x));
  const [lowest, yHighest] = extent(points.map(([, y]) => y));
  const yTicks = niceTicks(fromZero ? Math.min(0, lowest) : lowest, yHighest);
  const [yLow, yHigh] = [yTicks[0]!, yTicks.at(-1)!];
  const bottom = height - margin.bottom;
  const xAt = (x: number): number =>
    round(
      xLow === xHigh
        ? (margin.left + width - margin.right) / 2
        : margin.left + ((x - xLow) / (xHigh - xLow)) * (width - margin.left - margin.right),
    );
  const yAt = (y: number): number => round(bottom - ((y - yLow) / (yHigh - yLow)) * (bottom - margin.top));
  const place = (list: readonly Point[]): [number, number, number, number][] =>
    list.map(([x, y]) => [x, Number(y.toPrecision(5)), xAt(x), yAt(y)]);

  const grid = yTicks.map(
    (y) =>
      `<line class="grid" x1="${margin.left}" x2="${width - margin.right}" y1="${yAt(y)}" y2="${yAt(y)}"/><text class="tick" x="${margin.left - 8}" y="${yAt(y) + 4}" text-anchor="end">${formatNumber(y)}</text>`,
  );
  const xTicks = niceTicks(xLow, xHigh, 7).filter((x) => x >= xLow && x <= xHigh && Number.isInteger(x));
  const below = (xTicks.length > 0 ? xTicks : [xLow]).map(
    (x) =>
      `<line class="axis" x1="${xAt(x)}" x2="${xAt(x)}" y1="${bottom}" y2="${bottom + 5}"/><text class="tick" x="${xAt(x)}" y="${bottom + 19}" text-anchor="middle">${x}</text>`,
  );
  const axis = `<line class="axis" x1="${margin.left}" x2="${width - margin.right}" y1="${bottom}" y2="${bottom}"/><text class="tick" x="${(margin.left + width - margin.right) / 2}" y="${height - 6}" text-anchor="middle">step</text>`;

  const placed = drawn.map((one) => ({ label: one.label, points: place(thin(one.points, mostPoints)) }));
  const lines = drawn.map((one, i) => {
    const visible = placed[i]!.points;
    const average = one.smooth ? smooth(one.points) : undefined;
    const faint = average ? " faint" : "";
    const marks =
      one.dots || visible.length === 1 ? visible.map(([, , x, y]) => `<circle class="dot s${i}" cx="${x}" cy="${y}" r="3.5"/>`) : [];
    return `<path class="line s${i}${faint}" d="${pathOf(visible)}"/>${average ? `<path class="line s${i}" d="${pathOf(place(thin(average.points, mostPoints)))}"/>` : ""}${marks.join("")}`;
  });
  const key = ({ label, smooth: isSmooth, points: list }: Series): string => {
    const window = isSmooth ? smooth(list)?.window : undefined;
    return escapeHtml(window ? `${label} (mean of ${window} steps; faint: every step)` : label);
  };
  const legend =
    drawn.length > 1 || drawn[0]!.smooth
      ? `<p class="legend">${drawn.map((one, i) => `<span class="entry"><span class="key s${i}"></span>${key(one)}</span>`).join("")}</p>`
      : "";
  const description = drawn
    .map((one) => `${one.label} from ${formatNumber(one.points[0]![1])} to ${formatNumber(one.points.at(-1)![1])}`)
    .join("; ");
  return `<figure data-series="${escapeHtml(JSON.stringify(placed))}"><figcaption>${escapeHtml(title)} <small>${escapeHtml(unit)}</small></figcaption>${legend}
<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(`${title}, step ${xLow} to ${xHigh}: ${description}`)}">${grid.join("")}${axis}${below.join("")}${lines.join("")}<line class="rule" y1="${margin.top}" y2="${bottom}" visibility="hidden"/></svg>
<div class="tip" hidden></div></figure>`;
}

const pathOf = (points: readonly (readonly [number, number, number, number])[]): string =>
  points.map(([, , x, y], i) => `${i === 0 ? "M" : "L"}${x} ${y}`).join("");

const round = (pixels: number): number => Math.round(10 * pixels) / 10;

function extent(values: readonly number[]): [number, number] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return [low, high];
}

/** About `count` round values that enclose a range; always at least two. */
export function niceTicks(low: number, high: number, count = 5): number[] {
  if (low === high) {
    const half = (Math.abs(low) || 1) / 2;
    return niceTicks(low - half, high + half, count);
  }
  const raw = (high - low) / (count - 1);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw * (1 - 1e-9))!;
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  // Twelve digits are enough for a label and hide 0.30000000000000004.
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}
