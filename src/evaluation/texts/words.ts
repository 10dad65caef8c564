/** Words and n-grams as the reference implementations of text metrics cut them. */

/** Words between white space, which is Python's: str.split also parts at separators that \s leaves out. */
export const wordsOf = (text: string): string[] => text.split(whiteSpace).filter((word) => word !== "");

export const withoutTrailingSpace = (text: string): string => text.replace(trailingSpace, "");

const spaces = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const whiteSpace = new RegExp(`${spaces}+`);
const trailingSpace = new RegExp(`${spaces}+$`);

/** How often each n-gram stands in a list of words or characters. */
export function countNgrams(units: readonly string[], n: number, joint = " "): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i + n <= units.length; i++) {
    const ngram = units.slice(i, i + n).join(joint);
    counts.set(ngram, (counts.get(ngram) ?? 0) + 1);
  }
  return counts;
}

/** N-grams that both have, each as often as it stands in the poorer one. */
export function commonNgrams(one: ReadonlyMap<string, number>, other: ReadonlyMap<string, number>): number {
  let common = 0;
  for (const [ngram, count] of one) common += Math.min(count, other.get(ngram) ?? 0);
  return common;
}

/** N-grams in a list of so many units. */
export const numNgrams = (units: number, n: number): number => Math.max(0, units - n + 1);
