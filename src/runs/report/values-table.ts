/** The curves as numbers: for screen readers, for copying, and where a browser shows no charts. */
import { formatNumber } from "../../base/units.ts";
import type { MetricsRow } from "../metrics-log.ts";
import { escapeHtml } from "./html.ts";

const columns = [
  ["loss", "Training loss"],
  ["eval_loss", "Validation loss"],
  ["eval_perplexity", "Perplexity"],
  ["eval_token_accuracy", "Token accuracy"],
  ["learning_rate", "Learning rate"],
  ["grad_norm", "Gradient norm"],
  ["tokens_per_second", "Tokens/s"],
] as const satisfies readonly (readonly [keyof MetricsRow, string])[];

const mostRows = 40;

/** Every evaluated step, and steps in between up to 40 rows; empty without metrics. */
export function renderValuesTable(metrics: readonly MetricsRow[]): string {
  const bySteps = new Map<number, MetricsRow>();
  for (const row of metrics) bySteps.set(row.step, { ...bySteps.get(row.step), ...row });
  const all = [...bySteps.values()].sort((a, b) => a.step - b.step);
  if (all.length === 0) return "";
  const every = Math.ceil(all.length / mostRows);
  const evaluated = all.filter((row) => row.eval_loss !== undefined);
  const shown = all.filter(
    (row, i) => (evaluated.length <= mostRows && row.eval_loss !== undefined) || i % every === 0 || i === all.length - 1,
  );
  const head = columns.map(([, label]) => `<th scope="col">${escapeHtml(label)}</th>`).join("");
  const cell = (value: number | null | undefined): string => `<td>${typeof value === "number" ? formatNumber(value) : ""}</td>`;
  const body = shown.map((row) => `<tr><th scope="row">${row.step}</th>${columns.map(([key]) => cell(row[key])).join("")}</tr>`).join("");
  const which = shown.length < all.length ? `${shown.length} of ${all.length} steps; metrics.jsonl has all` : `all ${all.length} steps`;
  return `<details><summary>Values as a table (${which})</summary><div class="wide"><table><thead><tr><th scope="col">Step</th>${head}</tr></thead><tbody>${body}</tbody></table></div></details>`;
}
