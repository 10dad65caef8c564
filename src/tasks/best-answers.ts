/** The best spans of a question over all its windows, as in transformers' `utils_qa.py`: the likeliest ends, joined where they make a span. */
import type { ScoredDocument } from "../evaluation/held-out.ts";
import { noAnswer, windowOf } from "./answer-windows.ts";
import { softmax } from "./probabilities.ts";

export interface AnswerOptions {
  /** How many of the likeliest first and last tokens are tried. */
  readonly nBest: number;
  /** Longest answer, tokens. */
  readonly maxAnswerLength: number;
  /** True if a question may have no answer. */
  readonly mayLackAnswer: boolean;
}

export interface Answer {
  /** "" for none. */
  readonly text: string;
  /** Characters of the context. */
  readonly start: number;
  readonly end: number;
  /** Sum of the two logits. */
  readonly score: number;
  /** Among the `nBest`, 0 to 1. */
  readonly probability: number;
}

/** @param windows all windows of one question @returns at least one, the best first */
export function bestAnswers(windows: readonly ScoredDocument[], { nBest, maxAnswerLength, mayLackAnswer }: AnswerOptions): Answer[] {
  const found: Omit<Answer, "probability">[] = [];
  let none = Number.POSITIVE_INFINITY;
  for (const { example, predictions } of windows) {
    const { question, contextStart, spans } = windowOf(example);
    const [starts, ends] = [predictions.map(([start]) => start!), predictions.map(([, end]) => end!)];
    none = Math.min(none, starts[noAnswer]! + ends[noAnswer]!);
    const isContext = (i: number): boolean => i >= contextStart && i < contextStart + spans.length;
    const likeliestEnds = largest(ends, nBest).filter(isContext);
    for (const first of largest(starts, nBest).filter(isContext)) {
      for (const last of likeliestEnds) {
        if (last < first || last - first + 1 > maxAnswerLength) continue;
        const [start, end] = [spans[first - contextStart]![0], spans[last - contextStart]![1]];
        found.push({ text: question.context.slice(start, end), start, end, score: starts[first]! + ends[last]! });
      }
    }
  }
  found.sort((a, b) => b.score - a.score);
  const best = found.slice(0, nBest);
  if (mayLackAnswer || best.length === 0) best.push({ text: "", start: 0, end: 0, score: none });
  best.sort((a, b) => b.score - a.score);
  const probabilities = softmax(best.map(({ score }) => score));
  return best.map((answer, i) => ({ ...answer, probability: probabilities[i]! }));
}

/** Places of the n largest values, the largest first. */
const largest = (values: readonly number[], n: number): number[] => [...values.keys()].sort((a, b) => values[b]! - values[a]!).slice(0, n);
