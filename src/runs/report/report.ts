/** report.html: one file that opens offline. The verdict first, then what to be careful about, how training went, samples, data, configuration. */
import { formatCount } from "../../base/units.ts";
import type { MetricsRow } from "../metrics-log.ts";
import { type Point, renderChart } from "./chart.ts";
import { hoverScript } from "./hover-script.ts";
import { escapeHtml } from "./html.ts";
import { renderPredictions } from "./predictions.ts";
import { reportStyle } from "./style.ts";
import { renderValuesTable } from "./values-table.ts";
import { renderVerdict, type VerdictInput } from "./verdict.ts";

export interface ReportSample {
  readonly prompt: string;
  readonly before: string;
  readonly after: string;
}

export interface ReportInput extends VerdictInput {
  readonly title: string;
  readonly metrics: readonly MetricsRow[];
  readonly samples: readonly ReportSample[];
  /** Facts in the order shown, by section. */
  readonly facts: Readonly<Record<string, Readonly<Record<string, string | number>>>>;
  readonly notices: readonly string[];
  /** Resolved configuration as YAML. */
  readonly config: string;
}

// The policy makes the promise of no network hold even if something slipped through escaping.
const contentPolicy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

export function renderReport(input: ReportInput): string {
  const { title, metrics, samples, facts, notices, config } = input;
  const sections = [
    renderVerdict(input),
    input.tuned.scores ? section("Predictions of the tuned model", renderPredictions(input.tuned.scores)) : "",
    notices.length > 0 ? section("Notices", `<ul>${notices.map((notice) => `<li>${escapeHtml(notice)}</li>`).join("")}</ul>`) : "",
    metrics.length > 0 ? section("Training", `<div class="charts">${renderCharts(metrics)}</div>${renderValuesTable(metrics)}`) : "",
    samples.length > 0 ? section("Answers before and after", samples.map(renderSample).join("")) : "",
    `<div class="columns">${Object.entries(facts)
      .map(([name, rows]) => section(escapeHtml(name), renderFacts(rows)))
      .join("")}</div>`,
    section("Configuration", `<pre tabindex="0">${escapeHtml(config)}</pre>`),
  ];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${contentPolicy}"><meta name="color-scheme" content="light dark">
<title>${escapeHtml(title)}</title><style>${reportStyle}</style></head>
<body><main><h1>${escapeHtml(title)}</h1>
${sections.filter((html) => html !== "").join("\n")}
</main><script>${hoverScript}</script></body></html>
`;
}

function renderCharts(metrics: readonly MetricsRow[]): string {
  // JSON has no NaN: a row read back may hold null.
  const column = (key: keyof MetricsRow): Point[] =>
    metrics.flatMap((row) => (typeof row[key] === "number" ? [[row.step, row[key]] as const] : []));
  return [
    renderChart({
      title: "Loss",
      unit: "nats per target",
      series: [
        { label: "training", points: column("loss"), smooth: true },
        { label: "validation", points: column("eval_loss"), dots: true },
      ],
    }),
    renderChart({
      title: "Learning rate",
      unit: "",
      series: [{ label: "learning rate", points: column("learning_rate") }],
      fromZero: true,
    }),
    renderChart({
      title: "Gradient norm",
      unit: "before clipping",
      series: [{ label: "gradient norm", points: column("grad_norm") }],
      fromZero: true,
    }),
    renderChart({
      title: "Speed",
      unit: "tokens per second",
      series: [{ label: "tokens per second", points: column("tokens_per_second") }],
      fromZero: true,
    }),
  ].join("");
}

const section = (heading: string, html: string): string => `<section><h2>${heading}</h2>${html}</section>`;

const renderSample = ({ prompt, before, after }: ReportSample): string =>
  `<article class="sample"><p class="prompt">${escapeHtml(prompt)}</p><div class="pair">${renderAnswer("Base", before)}${renderAnswer("Tuned", after)}</div></article>`;

const renderAnswer = (who: string, text: string): string => `<div><h3>${who}</h3><p>${escapeHtml(text) || "<em>no text</em>"}</p></div>`;

/** Paths break behind their slashes. */
const breakable = (html: string): string => html.replaceAll("/", "/<wbr>");

const renderFacts = (rows: Readonly<Record<string, string | number>>): string =>
  `<table class="facts"><tbody>${Object.entries(rows)
    .map(
      ([name, value]) =>
        `<tr><th scope="row">${escapeHtml(name)}</th><td>${typeof value === "number" ? formatCount(value) : breakable(escapeHtml(value))}</td></tr>`,
    )
    .join("")}</tbody></table>`;
