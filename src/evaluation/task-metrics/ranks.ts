/** Where in a list that is sorted by nearness the one that was looked for stands. */

/** Place of `match` among `scores`, from 1; equal scores stand before it, so that a model that finds everything equally near gains nothing. */
export const rankOf = (scores: ArrayLike<number>, match: number): number => {
  let rank = 1;
  for (let i = 0; i < scores.length; i++) if (i !== match && scores[i]! >= scores[match]!) rank++;
  return rank;
};

export const recallAt = (items: readonly { readonly rank: number }[], k: number): number =>
  items.filter(({ rank }) => rank <= k).length / items.length;
