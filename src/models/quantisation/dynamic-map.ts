/** The signed 8-bit numbers whose exponent takes as many bits as it needs. Dettmers 2015, https://arxiv.org/abs/1511.04561. */

/** 256 entries, ascending, -0.993 to 1: for each power of ten down to 1e-6 the middles of 1, 2, 4 ... 64 equal parts of 0.1 to 1. */
export function createDynamicMap(): Float32Array {
  const entries = [0, 1];
  for (let exponent = 0; exponent < 7; exponent++) {
    const power = 10 ** (exponent - 6);
    const edges = linspace(0.1, 1, 2 ** exponent + 1);
    for (let i = 0; i + 1 < edges.length; i++) {
      const value = Math.fround(Math.fround(power) * (Math.fround(edges[i]! + edges[i + 1]!) / 2));
      entries.push(value, -value);
    }
  }
  return Float32Array.from(entries).sort();
}

/** As torch does it in float32: the first half from the start, the second from the end. */
function linspace(start: number, end: number, count: number): Float32Array {
  const step = Math.fround((Math.fround(end) - Math.fround(start)) / (count - 1));
  return Float32Array.from({ length: count }, (_, i) => (i < count / 2 ? Math.fround(start) + step * i : end - step * (count - 1 - i)));
}
