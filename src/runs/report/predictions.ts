/** What the tuned model said of held-out rows: which labels it takes for which, and where it was surest and wrong. */
import { confusionMatrix } from "../../evaluation/task-metrics/label-counts.ts";
import type { Scores, ScoresOf } from "../../evaluation/task-metrics/task-metric.ts";
import { escapeHtml } from "./html.ts";

const mostErrors = 10;
/** More labels than this make a table that nobody reads. */
const mostLabels = 24;

export function renderPredictions(scores: Scores): string {
  const matrix = scores.kind === "classes" && scores.labels.length <= mostLabels ? renderMatrix(scores) : "";
  return matrix + renderErrors(scores);
}

function renderMatrix(scores: ScoresOf<"classes">): string {
  const counts = confusionMatrix(scores);
  const heads = scores.labels.map((label) => `<th scope="col">${escapeHtml(label)}</th>`).join("");
  const rows = counts.map((row, actual) => {
    const cells = row.map((count, predicted) => `<td>${actual === predicted ? `<strong>${count}</strong>` : count}</td>`).join("");
    return `<tr><th scope="row">${escapeHtml(scores.labels[actual]!)}</th>${cells}</tr>`;
  });
  return `<h3>Labels in rows, predictions in columns</h3><div class="wide matrix"><table><thead><tr><td></td>${heads}</tr></thead><tbody>${rows.join("")}</tbody></table></div>`;
}

interface Mistake {
  readonly text: string;
  readonly expected: string;
  readonly said: string;
  readonly confidence: number | undefined;
  /** The larger, the worse. */
  readonly weight: number;
}

/** Surest first; where a model gives numbers, the furthest off first; where it ranks, the lowest place first. */
function mistakesOf(scores: Scores): Mistake[] {
  const weightOf = (i: number): number => {
    if (scores.kind === "ranks") return scores.items[i]!.rank;
    if (scores.kind !== "numbers") return scores.items[i]!.confidence ?? 0;
    const { predicted, actual } = scores.items[i]!;
    return predicted.reduce((sum, value, k) => sum + (value - actual[k]!) ** 2, 0);
  };
  return scores.items
    .map(({ text = "", expected = "", said = "", confidence }, i) => ({ text, expected, said, confidence, weight: weightOf(i) }))
    .filter(({ expected, said }) => expected !== said)
    .sort((a, b) => b.weight - a.weight)
    .slice(0, mostErrors);
}

function renderErrors(scores: Scores): string {
  const mistakes = mistakesOf(scores);
  if (mistakes.length === 0) return "<p>Everything held out was predicted right.</p>";
  const isSure = mistakes.some(({ confidence }) => confidence !== undefined);
  const title =
    scores.kind === "texts"
      ? "Written otherwise than expected"
      : scores.kind === "numbers"
        ? "Furthest off"
        : isSure
          ? "Wrong and surest"
          : "Wrong";
  const rows = mistakes.map(({ text, expected, said, confidence }) => {
    const sure = isSure ? `<td>${confidence === undefined ? "" : `${(100 * confidence).toFixed(1)}%`}</td>` : "";
    return `<tr><td>${escapeHtml(text.slice(0, 300))}</td><td>${escapeHtml(expected)}</td><td>${escapeHtml(said)}</td>${sure}</tr>`;
  });
  const heads = ["Text", "Expected", "Predicted", ...(isSure ? ["Confidence"] : [])].map((name) => `<th scope="col">${name}</th>`).join("");
  return `<h3>${title}</h3><div class="wide texts"><table><thead><tr>${heads}</tr></thead><tbody>${rows.join("")}</tbody></table></div>`;
}
