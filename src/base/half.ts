/** Half-precision bits to and from float32, round to nearest even. */
const floatBits = new Uint32Array(1);
const floatValue = new Float32Array(floatBits.buffer);

export function bfloat16ToFloat32(bits: Uint16Array): Float32Array {
  const out = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = bits[i]! << 16;
  return new Float32Array(out.buffer);
}

export function float32ToBfloat16(values: Float32Array): Uint16Array {
  const out = new Uint16Array(values.length);
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < values.length; i++) {
    const b = bits[i]!;
    // A NaN stays a NaN; everything else is rounded by adding half a unit of the last place that stays.
    out[i] = (b & 0x7fffffff) > 0x7f800000 ? (b >>> 16) | 0x40 : (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
  }
  return out;
}

/** What each of the 65,536 bit patterns stands for; made when first asked for. */
let float16Values: Float32Array | undefined;

export function float16ToFloat32(bits: Uint16Array): Float32Array {
  float16Values ??= Float32Array.from({ length: 2 ** 16 }, (_, pattern) => float16Value(pattern));
  const out = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = float16Values[bits[i]!]!;
  return out;
}

function float16Value(pattern: number): number {
  const sign = pattern & 0x8000 ? -1 : 1;
  const exponent = (pattern >> 10) & 0x1f;
  const mantissa = pattern & 0x3ff;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

export function float32ToFloat16(values: Float32Array): Uint16Array {
  const out = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) {
    floatValue[0] = values[i]!;
    const b = floatBits[0]!;
    const sign = (b >>> 16) & 0x8000;
    const exponent = ((b >>> 23) & 0xff) - 112;
    const mantissa = b & 0x7fffff;
    if (exponent >= 31) out[i] = sign | ((b & 0x7fffffff) > 0x7f800000 ? 0x7e00 : 0x7c00);
    else if (exponent <= 0) {
      // Subnormal: the implicit one becomes explicit and moves right.
      const shift = 14 - exponent;
      if (shift > 24) out[i] = sign;
      else {
        const full = mantissa | 0x800000;
        const kept = full >>> shift;
        const rest = full & ((1 << shift) - 1);
        const half = 1 << (shift - 1);
        out[i] = sign | (kept + Number(rest > half || (rest === half && (kept & 1) === 1)));
      }
    } else {
      const kept = (exponent << 10) | (mantissa >>> 13);
      const rest = mantissa & 0x1fff;
      out[i] = sign | (kept + Number(rest > 0x1000 || (rest === 0x1000 && (kept & 1) === 1)));
    }
  }
  return out;
}

export const largestFloat16 = 65_504;

/** The nearest number that has a float16, ties to even; beyond the largest an infinity. */
export function roundToFloat16(x: number): number {
  const size = Math.abs(x);
  if (!Number.isFinite(x) || size === 0) return x;
  // Ten bits of mantissa behind the leading one; below 2^-14 the steps no longer shrink.
  const step = 2 ** (Math.max(Math.floor(Math.log2(size)), -14) - 10);
  const whole = size / step;
  const below = Math.floor(whole);
  const rest = whole - below;
  const rounded = (rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below) * step;
  return Math.sign(x) * (rounded > largestFloat16 ? Number.POSITIVE_INFINITY : rounded);
}
