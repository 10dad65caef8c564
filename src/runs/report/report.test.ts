import { describe, expect, test } from "vitest";
import type { MetricsRow } from "../metrics-log.ts";
import { niceTicks, renderChart } from "./chart.ts";
import { smooth, thin } from "./points.ts";
import { type ReportInput, renderReport } from "./report.ts";
import { judge } from "./verdict.ts";

const nasty = `</script><script>alert(1)</script><img src=x onerror="alert('2')">&amp;`;

const heldOut = (loss: number, tokenAccuracy: number) => ({
  loss,
  perplexity: Math.exp(loss),
  tokenAccuracy,
  tokens: 1200,
  documents: [],
  metrics: {},
});
const input: ReportInput = {
  title: "Fine-tuning tiny with lora",
  method: "lora",
  base: heldOut(2.5, 0.4),
  tuned: heldOut(2.1, 0.48),
  comparison: { difference: -0.4, low: -0.45, high: -0.35, confidence: 0.95, documents: 20 },
  metrics: Array.from({ length: 60 }, (_, i) => ({
    step: i + 1,
    loss: 3 - i / 60,
    learning_rate: 1e-3,
    grad_norm: 1,
    tokens_per_second: 900,
    ...((i + 1) % 20 === 0 && { eval_loss: 2.4 }),
  })),
  samples: [{ prompt: "Say hello", before: "", after: "Hello\n  there" }],
  facts: { Data: { "training rows": 12_345, format: "alpaca" } },
  notices: ["3 rows were truncated"],
  config: "model: tiny\n",
};

describe("the report", () => {
  test("opens with the verdict and holds every section", () => {
    const html = renderReport(input);
    const headings = [...html.matchAll(/<h2>(.*?)<\/h2>/g)].map(([, heading]) => heading);
    expect(headings).toEqual([
      "The tuned model predicts held-out data better than the base model.",
      ...["Notices", "Training", "Answers before and after", "Data", "Configuration"],
    ]);
    for (const text of [
      "−0.4000",
      "−0.4500 to −0.3500",
      "95% interval",
      "12.18",
      "8.17",
      "+8.0 points",
      "12,345",
      "<em>no text</em>",
      "Hello\n  there",
    ])
      expect(html).toContain(text);
    expect(html.match(/<svg /g)).toHaveLength(4);
    expect(html.match(/role="img" aria-label="/g)).toHaveLength(4);
  });

  test("needs no network", () => {
    const html = renderReport(input);
    expect(html).not.toMatch(/https?:|<link|@import|url\(|src=/);
    expect(html).toContain("default-src 'none'");
  });

  test("shows text as text, wherever it comes from", () => {
    const html = renderReport({
      ...input,
      ...{ title: nasty, method: nasty, notices: [nasty], config: nasty, samples: [{ prompt: nasty, before: nasty, after: nasty }] },
      facts: { [nasty]: { [nasty]: nasty } },
    });
    expect(html.match(/<script>/g)).toHaveLength(1);
    expect(html.match(/<\/script>/g)).toHaveLength(1);
    expect(html).not.toContain("<img");
    expect(html).toContain("&lt;img src=x onerror=&quot;alert(&#39;2&#39;)&quot;&gt;&amp;amp;");
  });

  test("a run without metrics, samples or notices leaves those sections out; null is no value", () => {
    const rows = JSON.parse('[{"step":1,"loss":null}]') as MetricsRow[];
    expect(renderReport({ ...input, metrics: [], samples: [], notices: [] })).not.toMatch(/<figure|<article|Notices/);
    expect(renderReport({ ...input, metrics: rows })).not.toMatch(/NaN|<svg/);
  });
});

test("a verdict needs the whole interval on one side, and two documents", () => {
  const comparison = { ...input.comparison };
  expect(judge(comparison)).toBe("better");
  expect(judge({ ...comparison, low: 0.1, high: 0.2 })).toBe("worse");
  expect(judge({ ...comparison, high: 0.01 })).toBe("unclear");
  expect(judge({ ...comparison, documents: 1 })).toBe("unclear");
});

describe("a chart", () => {
  test.each([
    [0, 1, [0, 0.25, 0.5, 0.75, 1]],
    [0.1, 0.9, [0, 0.2, 0.4, 0.6, 0.8, 1]],
    [1.9, 3.4, [1.5, 2, 2.5, 3, 3.5]],
    [5, 5, [2, 4, 6, 8]],
    [0, 2e-4, [0, 5e-5, 1e-4, 1.5e-4, 2e-4]],
  ])("from %d to %d has round ticks", (low, high, ticks) => expect(niceTicks(low, high)).toEqual(ticks));

  test("keeps every coordinate inside and finite, for one point and for constant values too", () => {
    for (const points of [
      [[7, 3]],
      [
        [1, 2],
        [2, 2],
      ],
      [
        [1, 1e-9],
        [1000, 5e8],
        [1001, Number.NaN],
      ],
    ] as [number, number][][]) {
      const svg = renderChart({ title: "T", unit: "u", series: [{ label: "a", points, dots: true }] });
      expect(svg).not.toMatch(/NaN|Infinity/);
      for (const [, x, y] of svg.matchAll(/[ML]([\d.-]+) ([\d.-]+)/g)) {
        expect(Number(x)).toBeGreaterThanOrEqual(56);
        expect(Number(x)).toBeLessThanOrEqual(468);
        expect(Number(y)).toBeGreaterThanOrEqual(12);
        expect(Number(y)).toBeLessThanOrEqual(188);
      }
    }
  });
});

test("thinning keeps spikes and order", () => {
  const points = Array.from({ length: 10_000 }, (_, i) => [i, i === 4321 ? 99 : Math.sin(i)] as const);
  const kept = thin(points, 200);
  expect(kept.length).toBeLessThanOrEqual(200);
  expect(kept).toContainEqual([4321, 99]);
  expect(kept.map(([x]) => x)).toEqual(kept.map(([x]) => x).toSorted((a, b) => a - b));
});

test("smoothing leaves a straight line as it is", () => {
  const line = Array.from({ length: 100 }, (_, i) => [i, 2 * i + 1] as const);
  for (const [x, y] of smooth(line)!.points) expect(y).toBeCloseTo(2 * x + 1, 9);
  expect(smooth(line)!.points[0]![0]).toBe(4);
  expect(smooth(line.slice(0, 20))).toBeUndefined();
});
