/**
 * QR and singular values of small dense matrices in float64, row-major. Householder reflections with LAPACK's signs, so that
 * Q and R equal torch.linalg.qr; one-sided Jacobi rotations on R (Hestenes 1958). Singular values
 * below rounding noise are given as zero; signs of singular vectors are arbitrary, as everywhere.
 */
import { createRandom } from "./random.ts";

/** A = u diag(s) v^T with k = min(rows, columns): u [rows, k] and v [columns, k] have orthonormal columns, s falls. */
export interface SingularValues {
  readonly u: Float64Array;
  readonly s: Float64Array;
  readonly v: Float64Array;
}

/** Thin QR: q [rows, k] with orthonormal columns, r [k, columns] upper triangular, k = min(rows, columns). */
export function qr(matrix: Float64Array, rows: number, columns: number): { q: Float64Array; r: Float64Array } {
  const size = Math.min(rows, columns);
  // Columns lie contiguous while they are reflected.
  const work = transpose(matrix, rows, columns);
  const reflectors: Float64Array[] = [];
  for (let j = 0; j < size; j++) {
    const reflector = work.slice(j * rows + j, (j + 1) * rows);
    makeReflector(reflector);
    reflectors.push(reflector);
    for (let k = j; k < columns; k++) reflect(reflector, work.subarray(k * rows + j, (k + 1) * rows));
  }
  const r = new Float64Array(size * columns);
  for (let i = 0; i < size; i++) for (let k = i; k < columns; k++) r[i * columns + k] = work[k * rows + i]!;
  const q = new Float64Array(size * rows);
  for (let k = 0; k < size; k++) {
    q[k * rows + k] = 1;
    for (let j = k; j >= 0; j--) reflect(reflectors[j]!, q.subarray(k * rows + j, (k + 1) * rows));
  }
  return { q: transpose(q, size, rows), r };
}

/** Turns x into the unit vector whose reflection maps x onto its first axis; zero where x lies there already. */
function makeReflector(x: Float64Array): void {
  const tail = dot(x.subarray(1), x.subarray(1));
  if (tail === 0) {
    x.fill(0);
    return;
  }
  const norm = Math.sqrt(x[0]! * x[0]! + tail);
  x[0] = x[0]! + (x[0]! >= 0 ? norm : -norm);
  const length = Math.sqrt(x[0] * x[0] + tail);
  for (let i = 0; i < x.length; i++) x[i]! /= length;
}

function reflect(reflector: Float64Array, x: Float64Array): void {
  const factor = 2 * dot(reflector, x);
  if (factor !== 0) for (let i = 0; i < x.length; i++) x[i]! -= factor * reflector[i]!;
}

const mostSweeps = 60;

/** All singular values. Cubic, with a large constant: for hundreds of columns; `truncatedSvd` finds the first few of a large matrix. */
export function svd(matrix: Float64Array, rows: number, columns: number): SingularValues {
  if (rows < columns) {
    const { u, s, v } = svd(transpose(matrix, rows, columns), columns, rows);
    return { u: v, s, v: u };
  }
  const n = columns;
  const { q, r } = qr(matrix, rows, columns);
  const left = rowsOf(transpose(r, n, n), n);
  const right = rowsOf(identity(n), n);
  orthogonalise(left, right);

  const norms = left.map((column) => Math.sqrt(dot(column, column)));
  const order = norms.map((_, i) => i).sort((a, b) => norms[b]! - norms[a]!);
  const noise = n * Number.EPSILON * (norms[order[0]!] ?? 0);
  const s = Float64Array.from(order, (i) => (norms[i]! > noise ? norms[i]! : 0));
  const [u, v] = [new Float64Array(n * n), new Float64Array(n * n)];
  order.forEach((from, i) => {
    v.set(right[from]!, i * n);
    if (s[i]! > 0)
      u.set(
        left[from]!.map((x) => x / s[i]!),
        i * n,
      );
  });
  // Where a singular value is zero, any vector that completes the basis is right; reflections provide one.
  if (s.includes(0)) {
    const completed = transpose(qr(transpose(u, n, n), n, n).q, n, n);
    s.forEach((value, i) => {
      if (value === 0) u.set(completed.subarray(i * n, (i + 1) * n), i * n);
    });
  }
  return { u: multiply(q, transpose(u, n, n), { rows, inner: n, columns: n }), s, v: transpose(v, n, n) };
}

/** Rotates pairs of vectors in `left`, and those of `right` along with them, until all of `left` are orthogonal. */
function orthogonalise(left: readonly Float64Array[], right: readonly Float64Array[]): void {
  const tolerance = Number.EPSILON * Math.sqrt(left.length);
  const total = left.reduce((sum, column) => sum + dot(column, column), 0);
  // Below this, both vectors are rounding noise beside the largest.
  const floor = Number.EPSILON ** 2 * total;
  for (let sweep = 0, rotated = true; rotated && sweep < mostSweeps; sweep++) {
    rotated = false;
    for (let p = 0; p < left.length; p++) {
      for (let q = p + 1; q < left.length; q++) {
        const [a, b] = [left[p]!, left[q]!];
        const [alpha, beta, gamma] = [dot(a, a), dot(b, b), dot(a, b)];
        if (Math.abs(gamma) <= Math.max(floor, tolerance * Math.sqrt(alpha * beta))) continue;
        rotated = true;
        const zeta = (beta - alpha) / (2 * gamma);
        const tangent = (zeta >= 0 ? 1 : -1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
        const cosine = 1 / Math.sqrt(1 + tangent * tangent);
        rotate(a, b, cosine, cosine * tangent);
        rotate(right[p]!, right[q]!, cosine, cosine * tangent);
      }
    }
  }
}

function rotate(a: Float64Array, b: Float64Array, cosine: number, sine: number): void {
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i]!, b[i]!];
    a[i] = cosine * x - sine * y;
    b[i] = sine * x + cosine * y;
  }
}

const oversampling = 8;
const residualTolerance = 1e-9;

/**
 * The largest `rank` singular values and their vectors: u [rows, rank], v [columns, rank]. Block Krylov iteration from a
 * fixed random start (Musco and Musco 2015, https://arxiv.org/abs/1504.05477), continued until the residuals are below
 * 1e-9 of the largest singular value; where the space grows too large for that to pay, all singular values are found.
 * @param mostBlocks steps after which what was found is good enough: for values that hardly fall, which take many steps to tell apart
 */
export function truncatedSvd(
  matrix: Float64Array,
  rows: number,
  columns: number,
  rank: number,
  { mostBlocks = Number.POSITIVE_INFINITY }: { mostBlocks?: number } = {},
): SingularValues {
  const smaller = Math.min(rows, columns);
  const block = rank + oversampling;
  const random = createRandom(0);
  let fresh: Float64Array = Float64Array.from({ length: columns * block }, () => random.normal());
  let basis: Float64Array = new Float64Array(0);
  for (let width = block; 2 * width <= smaller; width += block) {
    basis = qr(beside(basis, fresh, columns), columns, width).q;
    const image = multiply(matrix, basis, { rows, inner: columns, columns: width });
    const { u, s, v } = svd(image, rows, width);
    const kept = { u: firstColumns(u, width, rank), s: s.slice(0, rank), v: firstColumns(v, width, rank) };
    const ritz = multiply(basis, kept.v, { rows: columns, inner: width, columns: rank });
    const back = multiply(transpose(matrix, rows, columns), kept.u, { rows: columns, inner: rows, columns: rank });
    const residual = back.reduce((worst, value, i) => Math.max(worst, Math.abs(value - ritz[i]! * kept.s[i % rank]!)), 0);
    if (residual <= residualTolerance * s[0]! || width >= mostBlocks * block) return { ...kept, v: ritz };
    const newest = basis.filter((_, i) => i % width >= width - block);
    const ahead = multiply(matrix, newest, { rows, inner: columns, columns: block });
    fresh = multiply(transpose(matrix, rows, columns), ahead, { rows: columns, inner: rows, columns: block });
  }
  const { u, s, v } = svd(matrix, rows, columns);
  return { u: firstColumns(u, smaller, rank), s: s.slice(0, rank), v: firstColumns(v, smaller, rank) };
}

/** a [rows, inner] times b [inner, columns]. */
export function multiply(
  a: Float64Array,
  b: Float64Array,
  { rows, inner, columns }: { rows: number; inner: number; columns: number },
): Float64Array {
  const product = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++) {
    for (let k = 0; k < inner; k++) {
      const factor = a[i * inner + k]!;
      if (factor !== 0) for (let j = 0; j < columns; j++) product[i * columns + j]! += factor * b[k * columns + j]!;
    }
  }
  return product;
}

export function transpose(matrix: Float64Array, rows: number, columns: number): Float64Array {
  const result = new Float64Array(matrix.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) result[j * rows + i] = matrix[i * columns + j]!;
  return result;
}

const firstColumns = (matrix: Float64Array, columns: number, kept: number): Float64Array => matrix.filter((_, i) => i % columns < kept);

/** The columns of a, then those of b. */
function beside(a: Float64Array, b: Float64Array, rows: number): Float64Array {
  const [wide, more] = [a.length / rows, b.length / rows];
  const joined = new Float64Array(a.length + b.length);
  for (let i = 0; i < rows; i++) {
    joined.set(a.subarray(i * wide, (i + 1) * wide), i * (wide + more));
    joined.set(b.subarray(i * more, (i + 1) * more), i * (wide + more) + wide);
  }
  return joined;
}

function identity(size: number): Float64Array {
  const matrix = new Float64Array(size * size);
  for (let i = 0; i < size; i++) matrix[i * size + i] = 1;
  return matrix;
}

const rowsOf = (matrix: Float64Array, columns: number): Float64Array[] =>
  Array.from({ length: matrix.length / columns }, (_, i) => matrix.subarray(i * columns, (i + 1) * columns));

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
