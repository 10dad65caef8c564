/** Numbers as people read them: the terminal and the report share these, so that one value looks the same in both. */

const byteUnits = ["B", "kB", "MB", "GB", "TB"] as const;

/** Bytes in decimal units: 1500 is "1.5 kB". */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  // 999.5 would round to 1000 of the smaller unit.
  while (Math.abs(value) >= 999.5 && unit < byteUnits.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || Math.abs(value) >= 99.95 ? Math.round(value) : value.toFixed(1)} ${byteUnits[unit]}`;
}

/** Seconds, in the two units that matter: "240 ms", "12.3 s", "3m 12s", "2h 05m", "3d 04h". */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "unknown";
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const pair = (total: number, size: number, [large, small]: readonly [string, string]): string =>
    `${Math.floor(total / size)}${large} ${String(total % size).padStart(2, "0")}${small}`;
  const whole = Math.round(seconds);
  if (whole < 3600) return pair(whole, 60, ["m", "s"]);
  const minutes = Math.round(seconds / 60);
  if (minutes < 24 * 60) return pair(minutes, 60, ["h", "m"]);
  return pair(Math.round(seconds / 3600), 24, ["d", "h"]);
}

/** A count: "12,345", and from a million on "134.5M", "8.0B". */
export function formatCount(count: number): string {
  if (Math.abs(count) >= 999.95e6) return `${(count / 1e9).toFixed(1)}B`;
  if (Math.abs(count) >= 1e6) return `${(count / 1e6).toFixed(1)}M`;
  return Math.round(count)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ",");
}

/** A measured value to four significant digits, with an exponent where zeros would hide it: "2.341", "0.0123", "2e-4", "1.5e6". */
export function formatNumber(value: number, digits = 4): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "-∞";
  const magnitude = Math.abs(value);
  if (magnitude !== 0 && (magnitude < 1e-3 || magnitude >= 1e6)) {
    const [mantissa, exponent] = value.toExponential(digits - 1).split("e") as [string, string];
    return `${Number(mantissa)}e${Number(exponent)}`;
  }
  return magnitude >= 10 ** digits ? String(Math.round(value)) : String(Number(value.toPrecision(digits)));
}
