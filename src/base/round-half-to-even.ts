/** Added to a number of up to 2^22, it leaves no bits for fractions in float32. */
const magic = 1.5 * 2 ** 23;

/** The nearest integer; of two that are equally near the even one, as IEEE 754 rounds. @param x of magnitude up to 2^22 */
export const roundHalfToEven = (x: number): number => Math.fround(x + magic) - magic;
