/** report.html: one file that opens offline. The verdict first, then how training went, samples, data, configuration. */
import { formatCount } from "../../base/units.ts";
import type { HeldOutResult } from "../../evaluation/held-out.ts";
import type { PairedDifference } from "../../evaluation/paired-bootstrap.ts";
import type { MetricsRow } from "../metrics-log.ts";
import { renderChart } from "./chart.ts";
import { reportStyle } from "./style.ts";

export interface ReportSample {
  readonly prompt: string;
  readonly before: string;
  readonly after: string;
}

export interface ReportInput {
  readonly title: string;
  readonly method: string;
  readonly base: HeldOutResult;
  readonly tuned: HeldOutResult;
  readonly comparison: PairedDifference;
  readonly metrics: readonly MetricsRow[];
  readonly samples: readonly ReportSample[];
  /** Facts in the order shown, by section. */
  readonly facts: Readonly<Record<string, Readonly<Record<string, string | number>>>>;
  readonly notices: readonly string[];
  /** Resolved configuration as YAML. */
  readonly config: string;
}

export function renderReport(input: ReportInput): string {
  const { title, metrics } = input;
  const column = (key: keyof MetricsRow): (readonly [number, number])[] => metrics.flatMap((row) => (row[key] === undefined ? [] : [[row.step, row[key]] as const]));
  const charts = [
    renderChart({ title: "Loss", unit: "nats per token", series: [{ label: "training", points: column("loss") }, { label: "validation", points: column("eval_loss"), dots: true }] }),
    renderChart({ title: "Learning rate", unit: "", series: [{ label: "learning rate", points: column("learning_rate") }] }),
    renderChart({ title: "Gradient norm", unit: "before clipping", series: [{ label: "gradient norm", points: column("grad_norm") }] }),
    renderChart({ title: "Speed", unit: "tokens per second", series: [{ label: "tokens per second", points: column("tokens_per_second") }] }),
  ];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${escape(title)}</title><style>${reportStyle}</style></head>
<body><main>
<h1>${escape(title)}</h1>
${verdict(input)}
${input.notices.length > 0 ? `<section><h2>Notices</h2><ul>${input.notices.map((notice) => `<li>${escape(notice)}</li>`).join("")}</ul></section>` : ""}
<section><h2>Training</h2><div class="charts">${charts.join("")}</div></section>
${input.samples.length > 0 ? `<section><h2>Before and after</h2>${input.samples.map(sample).join("")}</section>` : ""}
${Object.entries(input.facts).map(([name, rows]) => `<section><h2>${escape(name)}</h2>${factTable(rows)}</section>`).join("\n")}
<section><h2>Configuration</h2><pre>${escape(input.config)}</pre></section>
</main></body></html>
`;
}

function verdict({ base, tuned, comparison, method }: ReportInput): string {
  const { difference, low, high, confidence, documents } = comparison;
  const better = high < 0;
  const worse = low > 0;
  const words = better ? "The tuned model predicts held-out data better." : worse ? "The tuned model predicts held-out data worse." : "No difference can be shown on held-out data.";
  const row = (name: string, { loss, perplexity, tokenAccuracy }: HeldOutResult): string =>
    `<tr><th scope="row">${name}</th><td>${loss.toFixed(4)}</td><td>${perplexity.toFixed(2)}</td><td>${(100 * tokenAccuracy).toFixed(1)}%</td></tr>`;
  return `<section class="verdict ${better ? "better" : worse ? "worse" : "equal"}"><h2>${words}</h2>
<p>Loss changed by <strong>${signed(difference)}</strong> nats per token (${100 * confidence}% interval ${signed(low)} to ${signed(high)}; paired bootstrap over ${formatCount(documents)} held-out documents, ${formatCount(base.tokens)} tokens; method ${escape(method)}).</p>
<table><thead><tr><th></th><th>Loss</th><th>Perplexity</th><th>Token accuracy</th></tr></thead><tbody>${row("Base", base)}${row("Tuned", tuned)}</tbody></table></section>`;
}

const sample = ({ prompt, before, after }: ReportSample): string =>
  `<article class="sample"><p class="prompt">${escape(prompt)}</p><div class="pair"><div><h3>Base</h3><p>${escape(before) || "<em>(empty)</em>"}</p></div><div><h3>Tuned</h3><p>${escape(after) || "<em>(empty)</em>"}</p></div></div></article>`;

const factTable = (rows: Readonly<Record<string, string | number>>): string =>
  `<table class="facts"><tbody>${Object.entries(rows).map(([name, value]) => `<tr><th scope="row">${escape(name)}</th><td>${typeof value === "number" ? formatCount(value) : escape(value)}</td></tr>`).join("")}</tbody></table>`;

const signed = (value: number): string => `${value < 0 ? "\u2212" : "+"}${Math.abs(value).toFixed(4)}`;

const escape = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

