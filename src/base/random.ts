/** Seeded random numbers: xoshiro128** (Blackman and Vigna 2018) started by splitmix32. The state can be saved and restored. */
export interface Random {
  /** Uniform in [0, 1), 32 bits. */
  next(): number;
  /** Normal with mean 0 and variance 1. */
  normal(): number;
  /** Uniform integer in 0..n-1. */
  integer(n: number): number;
  /** Shuffles in place (Fisher and Yates) and returns the array. */
  shuffle<T>(items: T[]): T[];
  state(): readonly number[];
  restore(state: readonly number[]): void;
}

export function createRandom(seed: number): Random {
  const s = new Uint32Array(4);
  let counter = seed >>> 0;
  for (let i = 0; i < 4; i++) {
    counter = (counter + 0x9e3779b9) >>> 0;
    let z = counter;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    s[i] = z ^ (z >>> 15);
  }
  const rotate = (x: number, k: number): number => (x << k) | (x >>> (32 - k));
  const random: Random = {
    next() {
      const result = Math.imul(rotate(Math.imul(s[1]!, 5), 7), 9) >>> 0;
      const shifted = s[1]! << 9;
      s[2]! ^= s[0]!;
      s[3]! ^= s[1]!;
      s[1]! ^= s[2]!;
      s[0]! ^= s[3]!;
      s[2]! ^= shifted;
      s[3] = rotate(s[3]!, 11);
      return result / 2 ** 32;
    },
    // Box and Muller; the second number is not kept, so that the state stays four words.
    normal: () => Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next()),
    integer: (n) => Math.floor(random.next() * n),
    shuffle(items) {
      for (let i = items.length - 1; i > 0; i--) {
        const j = random.integer(i + 1);
        [items[i], items[j]] = [items[j]!, items[i]!];
      }
      return items;
    },
    state: () => [...s],
    restore: (state) => s.set(state),
  };
  return random;
}
