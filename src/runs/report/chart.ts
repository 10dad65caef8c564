/** Line charts as inline SVG: no library, no network, readable in any browser and on paper. */
export interface Series {
  readonly label: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  readonly dots?: boolean;
}

export interface ChartOptions {
  readonly title: string;
  readonly unit: string;
  readonly series: readonly Series[];
}

const [width, height] = [640, 260];
const margin = { left: 64, right: 16, top: 14, bottom: 34 };

export function renderChart({ title, unit, series }: ChartOptions): string {
  const points = series.flatMap((one) => one.points).filter(([, y]) => Number.isFinite(y));
  if (points.length === 0) return "";
  const [xLow, xHigh] = extent(points.map(([x]) => x));
  const yTicks = niceTicks(...extent(points.map(([, y]) => y)));
  const [yLow, yHigh] = [yTicks[0]!, yTicks.at(-1)!];
  const xAt = (x: number): number => margin.left + ((x - xLow) / (xHigh - xLow || 1)) * (width - margin.left - margin.right);
  const yAt = (y: number): number => height - margin.bottom - ((y - yLow) / (yHigh - yLow || 1)) * (height - margin.top - margin.bottom);
  const grid = yTicks.map((y) => `<line class="grid" x1="${margin.left}" x2="${width - margin.right}" y1="${yAt(y)}" y2="${yAt(y)}"/><text class="tick" x="${margin.left - 8}" y="${yAt(y) + 4}" text-anchor="end">${formatTick(y)}</text>`);
  const xTicks = niceTicks(xLow, xHigh).filter((x) => x >= xLow && x <= xHigh && Number.isInteger(x));
  const below = xTicks.map((x) => `<text class="tick" x="${xAt(x)}" y="${height - 12}" text-anchor="middle">${x}</text>`);
  const lines = series.map((one, i) => {
    const visible = one.points.filter(([, y]) => Number.isFinite(y));
    const path = visible.map(([x, y], n) => `${n === 0 ? "M" : "L"}${xAt(x).toFixed(1)} ${yAt(y).toFixed(1)}`).join("");
    const dots = one.dots || visible.length === 1 ? visible.map(([x, y]) => `<circle class="dot s${i}" cx="${xAt(x).toFixed(1)}" cy="${yAt(y).toFixed(1)}" r="3.5"><title>${one.label}, step ${x}: ${formatTick(y)}</title></circle>`).join("") : "";
    return `<path class="line s${i}" d="${path}"><title>${one.label}</title></path>${dots}`;
  });
  const legend = series.length > 1 ? `<p class="legend">${series.map((one, i) => `<span class="key s${i}"></span>${one.label}`).join(" ")}</p>` : "";
  const last = series.map((one) => `${one.label} ends at ${formatTick(one.points.at(-1)?.[1] ?? Number.NaN)}`).join("; ");
  return `<figure><figcaption>${title} <small>${unit}</small></figcaption>${legend}<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${title}: ${last}">${grid.join("")}${below.join("")}${lines.join("")}</svg></figure>`;
}

function extent(values: readonly number[]): [number, number] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return [low, high];
}

/** About five round values that enclose a range. */
export function niceTicks(low: number, high: number): number[] {
  if (low === high) [low, high] = [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
  const raw = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw)!;
  const first = Math.floor(low / step);
  const last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

export function formatTick(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 10000 || size < 0.001 ? value.toExponential(1).replace("e+", "e") : String(Number(value.toPrecision(4)));
}
