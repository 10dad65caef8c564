/** Long curves made short enough to draw, and noisy ones smooth enough to read. */
type Point = readonly [x: number, y: number];

/** At most `limit` points. Of each stretch the lowest and the highest stay, so that no spike disappears. */
export function thin(points: readonly Point[], limit: number): readonly Point[] {
  if (points.length <= limit) return points;
  const stretches = Math.floor(limit / 2);
  const kept: Point[] = [];
  for (let i = 0; i < stretches; i++) {
    const stretch = points.slice(Math.floor((i * points.length) / stretches), Math.floor(((i + 1) * points.length) / stretches));
    const lowest = stretch.reduce((best, point) => (point[1] < best[1] ? point : best));
    const highest = stretch.reduce((best, point) => (point[1] > best[1] ? point : best));
    kept.push(...(lowest === highest ? [lowest] : lowest[0] < highest[0] ? [lowest, highest] : [highest, lowest]));
  }
  return kept;
}

/** A centred moving average over a twelfth of the curve, without the ends, where half of it would be missing;
 * undefined where there are under 24 points, which can be read as they are. */
export function smooth(points: readonly Point[]): { readonly window: number; readonly points: readonly Point[] } | undefined {
  if (points.length < 24) return undefined;
  const reach = Math.floor(points.length / 24);
  const window = 2 * reach + 1;
  const sums = [0];
  for (const [, y] of points) sums.push(sums.at(-1)! + y);
  const averaged = points.slice(reach, points.length - reach).map(([x], i): Point => [x, (sums[i + window]! - sums[i]!) / window]);
  return { window, points: averaged };
}
