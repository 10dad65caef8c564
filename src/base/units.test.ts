import { expect, test } from "vitest";
import { formatBytes, formatCount, formatDuration, formatNumber } from "./units.ts";

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [999.7, "1.0 kB"],
  [1500, "1.5 kB"],
  [512_000_000, "512 MB"],
  [999_600_000, "1.0 GB"],
  [16e9, "16.0 GB"],
])("%d bytes are %s", (bytes, text) => expect(formatBytes(bytes)).toBe(text));

test.each([
  [0.24, "240 ms"],
  [0.9999, "1.0 s"],
  [12.34, "12.3 s"],
  [59.99, "1m 00s"],
  [192, "3m 12s"],
  [3599.7, "1h 00m"],
  [7500, "2h 05m"],
  [277_200, "3d 05h"],
  [Number.POSITIVE_INFINITY, "unknown"],
])("%d seconds are %s", (seconds, text) => expect(formatDuration(seconds)).toBe(text));

test.each([
  [7, "7"],
  [12_345, "12,345"],
  [999_999, "999,999"],
  [134_515_008, "134.5M"],
  [999_960_000, "1.0B"],
  [8e9, "8.0B"],
])("count %d is %s", (count, text) => expect(formatCount(count)).toBe(text));

test.each([
  [0, "0"],
  [2.34123, "2.341"],
  [0.0123, "0.0123"],
  [2e-4, "2e-4"],
  [1.5e6, "1.5e6"],
  [-2.34567, "-2.346"],
  [123_456, "123456"],
  [Number.NaN, "NaN"],
  [Number.NEGATIVE_INFINITY, "-∞"],
])("number %d is %s", (value, text) => expect(formatNumber(value)).toBe(text));
