/** A few rows of every task, over the words of the small checkpoints. */
import { words } from "../cli/small-checkpoint.ts";

const word = (i: number): string => words[i % words.length]!;
const texts = Array.from({ length: 6 }, (_, i) => [word(i), word(5 * i + 3), word(3 * i + 1), word(7 * i + 2)]);
const rows = (make: (tokens: string[], i: number) => object) => texts.map(make);

const plain = rows((tokens) => ({ text: tokens.join(" ") }));
export const rowsOf: Readonly<Record<string, readonly object[]>> = {
  "causal-lm": plain,
  "masked-lm": plain,
  "span-corruption": plain,
  "seq2seq-lm": rows((tokens) => ({ source: tokens.join(" "), target: tokens.toReversed().join(" ") })),
  "sequence-classification": rows((tokens, i) => ({ text: tokens.join(" "), label: i % 2 ? "odd" : "even" })),
  "token-classification": rows((tokens) => ({ tokens, ner_tags: tokens.map((_, k) => (k === 1 ? "B-SECOND" : "O")) })),
  "question-answering": rows((tokens, i) => ({
    ...{ id: `q${i}`, question: "six", context: tokens.join(" ") },
    answers: { text: [tokens[0]], answer_start: [0] },
  })),
  "multiple-choice": rows((tokens, i) => ({ question: tokens.join(" "), choices: tokens.slice(0, 3), answer: i % 3 })),
  "sentence-embeddings": rows((tokens, i) => ({ anchor: tokens.join(" "), positive: word(i), negative: word(i + 5) })),
};
