/** The first thing that a reader wants to know: did it help, by how much, and how sure is that. */
import { formatCount } from "../../base/units.ts";
import { type Figure, figuresOf, type HeldOutResult, showFigure } from "../../evaluation/held-out.ts";
import type { PairedDifference } from "../../evaluation/paired-bootstrap.ts";
import { escapeHtml } from "./html.ts";

export interface VerdictInput {
  readonly base: HeldOutResult;
  readonly tuned: HeldOutResult;
  /** Of the loss. */
  readonly comparison: PairedDifference;
  /** Of the task's metrics, by their columns in metrics files; those without have no interval. */
  readonly metricComparisons?: Readonly<Record<string, PairedDifference>>;
  readonly method: string;
}

const verdicts = {
  better: "The tuned model predicts held-out data better than the base model.",
  worse: "The tuned model predicts held-out data worse than the base model.",
  unclear: "No difference between the models can be shown on held-out data.",
} as const;

/** Better or worse only where the whole interval says so; one document gives no interval. */
export function judge({ low, high, documents }: PairedDifference): keyof typeof verdicts {
  if (documents < 2) return "unclear";
  return high < 0 ? "better" : low > 0 ? "worse" : "unclear";
}

export function renderVerdict({ base, tuned, comparison, metricComparisons = {}, method }: VerdictInput): string {
  const { difference, low, high, confidence, documents } = comparison;
  const verdict = judge(comparison);
  const certainty =
    documents < 2
      ? "With a single held-out document there is no interval; hold out more."
      : `The ${Math.round(100 * confidence)}% interval is ${signed(low)} to ${signed(high)}, by paired bootstrap over ${formatCount(documents)} held-out documents with ${formatCount(base.tokens)} targets.`;
  const after = figuresOf(tuned);
  const rows = [
    ["Loss, nats per target", base.loss.toFixed(4), tuned.loss.toFixed(4), signed(difference)],
    ...figuresOf(base).map((figure, i) => [
      capital(figure.name),
      showFigure(figure),
      showFigure(after[i]!),
      change(figure, after[i]!) + intervalOf(metricComparisons[figure.logName]),
    ]),
  ];
  const body = rows
    .map(([name, ...cells]) => `<tr><th scope="row">${name}</th>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`)
    .join("");
  return `<section class="verdict ${verdict}"><h2>${verdicts[verdict]}</h2>
<p>Held-out loss changed by <strong>${signed(difference)}</strong> nats per target (method: ${escapeHtml(method)}). ${certainty}</p>
<div class="wide"><table><thead><tr><td></td><th scope="col">Base</th><th scope="col">Tuned</th><th scope="col">Change</th></tr></thead><tbody>${body}</tbody></table></div></section>`;
}

const capital = (name: string): string => (name[0]!.toUpperCase() + name.slice(1)).replace(/ f1$/, " F1");
const change = (before: Figure, after: Figure): string => {
  const shown = before.isShare
    ? `${signed(100 * (after.value - before.value), 1)} points`
    : `${signed(100 * (after.value / before.value - 1), 1)}%`;
  return `<span class="together">${shown}</span>`;
};
const intervalOf = (difference: PairedDifference | undefined): string =>
  difference ? ` <span class="together">(${signed(100 * difference.low, 1)} to ${signed(100 * difference.high, 1)})</span>` : "";
const signed = (value: number, digits = 4): string => `${value < 0 ? "\u2212" : "+"}${Math.abs(value).toFixed(digits)}`;
