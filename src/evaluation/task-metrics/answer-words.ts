/** Answers as SQuAD's script compares them: lower case, without punctuation, without a, an and the. Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250. */
const punctuation = /[!-/:-@[-`{-~]/g;

export const answerWords = (answer: string): string[] =>
  answer
    .toLowerCase()
    .replace(punctuation, "")
    .replace(/\b(a|an|the)\b/gu, " ")
    .split(/\s+/)
    .filter((word) => word !== "");
