/** QR and singular values against torch.linalg in float64, free of the signs of singular vectors; and properties at sizes beyond the fixtures. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { multiply, qr, svd, transpose, truncatedSvd } from "../../src/base/linear-algebra.ts";
import { createRandom } from "../../src/base/random.ts";
import { reference } from "./tiny-model.ts";

type Rows = number[][];
const { cases } = JSON.parse(readFileSync(`${reference}linear-algebra/svd.json`, "utf8")) as {
  cases: Record<string, { matrix: Rows; q: Rows; r: Rows; s: number[]; firstTwo: Rows }>;
};
const flat = (rows: Rows): Float64Array => Float64Array.from(rows.flat());
const random = createRandom(1);
const normal = (size: number): Float64Array => Float64Array.from({ length: size }, () => random.normal());

function expectClose(found: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  expect(found.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) expect(Math.abs(found[i]! - expected[i]!)).toBeLessThan(tolerance);
}

/** The sum of the first `count` rank-one terms of k. */
function compose({ u, s, v }: ReturnType<typeof svd>, rows: number, columns: number, count = s.length): Float64Array {
  const k = s.length;
  const scaled = u.map((x, i) => (i % k < count ? x * s[i % k]! : 0));
  return multiply(scaled, transpose(v, columns, k), { rows, inner: k, columns });
}

const expectOrthonormal = (q: Float64Array, rows: number, columns: number): void =>
  expectClose(
    multiply(transpose(q, rows, columns), q, { rows: columns, inner: rows, columns }),
    Array.from({ length: columns ** 2 }, (_, i) => Number(i % columns === Math.floor(i / columns))),
    1e-12,
  );

describe.each(Object.entries(cases))("%s", (_, { matrix, q, r, s, firstTwo }) => {
  const [rows, columns] = [matrix.length, matrix[0]!.length];
  const k = Math.min(rows, columns);

  it("qr", () => {
    const found = qr(flat(matrix), rows, columns);
    expectOrthonormal(found.q, rows, k);
    expectClose(multiply(found.q, found.r, { rows, inner: k, columns }), flat(matrix), 1e-13);
    // Where a diagonal entry of R is near zero, the later columns of Q are free.
    if (r.every((row, i) => Math.abs(row[i]!) > 1e-6)) {
      expectClose(found.q, flat(q), 1e-10);
      expectClose(found.r, flat(r), 1e-10);
    }
  });

  it("svd", () => {
    const found = svd(flat(matrix), rows, columns);
    expectClose(found.s, s, 1e-13 * (1 + s[0]!));
    expectOrthonormal(found.u, rows, k);
    expectOrthonormal(found.v, columns, k);
    expectClose(compose(found, rows, columns), flat(matrix), 1e-12);
    expectClose(compose(found, rows, columns, 2), flat(firstTwo), 1e-12);
  });
});

describe("truncatedSvd", () => {
  const [rows, columns] = [150, 120];
  const cases: Record<string, Float64Array> = {
    "a low-rank matrix under noise": multiply(normal(rows * 6), normal(6 * columns), { rows, inner: 6, columns }).map(
      (x) => x + 0.01 * random.normal(),
    ),
    "exactly low rank": multiply(normal(rows * 3), normal(3 * columns), { rows, inner: 3, columns }),
    "equal singular values": Float64Array.from({ length: rows * columns }, (_, i) =>
      i % columns === Math.floor(i / columns) && i % columns < 12 ? 2 : 0,
    ),
    "noise alone": normal(rows * columns),
  };
  it.each(Object.keys(cases))("equals the first terms of svd: %s", (name) => {
    const whole = svd(cases[name]!, rows, columns);
    const found = truncatedSvd(cases[name]!, rows, columns, 6);
    expectClose(found.s, whole.s.slice(0, 6), 1e-9 * whole.s[0]!);
    expectOrthonormal(found.u, rows, 6);
    expectOrthonormal(found.v, columns, 6);
    // Of equal singular values any six may come first.
    if (whole.s[5]! - whole.s[6]! > 1e-6) expectClose(compose(found, rows, columns), compose(whole, rows, columns, 6), 1e-7);
  });
});
