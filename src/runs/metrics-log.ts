/** metrics.jsonl: one JSON object a line and step, under the names that the field uses. */
import type { AppendFile } from "../base/append-file.ts";
import { createWriteQueue } from "./write-queue.ts";

export interface MetricsRow {
  /** Optimizer steps done, from 1; 0 is the model before training. */
  readonly step: number;
  /** Passes over the training data so far. */
  readonly epoch?: number | undefined;
  /** Mean over the supervised tokens of the step, nats. */
  readonly loss?: number | undefined;
  readonly learning_rate?: number | undefined;
  /** Before clipping; absent where gradients overflowed and the step was left out. */
  readonly grad_norm?: number | undefined;
  /** That gradients were multiplied by on their way through float16, and the steps left out so far because they overflowed. */
  readonly loss_scale?: number | undefined;
  readonly skipped_steps?: number | undefined;
  /** What holds the weights near their start adds to the loss. */
  readonly weight_penalty?: number | undefined;
  /** How uneven the choices of routers are, before its weight, beside the loss. */
  readonly aux_loss?: number | undefined;
  readonly tokens_per_second?: number | undefined;
  readonly eval_loss?: number | undefined;
  readonly eval_perplexity?: number | undefined;
  /** 0 to 1. */
  readonly eval_token_accuracy?: number | undefined;
  /** Peak of the process in decimal megabytes. */
  readonly memory_mb?: number | undefined;
  /** Since the run began, interruptions left out. */
  readonly wall_seconds?: number | undefined;
}

export interface MetricsLog {
  append(row: MetricsRow): void;
  /** Of this run from its first step, those before a resumption included. */
  readonly rows: readonly MetricsRow[];
  /** @throws if a row could not be written */
  flush(): Promise<void>;
}

/** Opens the log of a new run, or of one that continues after the step `resumedFrom`: rows of later steps go, they will happen again. */
export async function openMetricsLog(file: AppendFile, { resumedFrom }: { resumedFrom?: number | undefined } = {}): Promise<MetricsLog> {
  const rows = resumedFrom === undefined ? [] : parseMetrics(decoder.decode(await file.read())).filter(({ step }) => step <= resumedFrom);
  await file.replace(encoder.encode(rows.map(toLine).join("")));
  const queue = createWriteQueue();
  return {
    rows,
    append(row) {
      rows.push(row);
      queue.add(() => file.append(encoder.encode(toLine(row))));
    },
    flush: queue.flush,
  };
}

/** The rows of a metrics.jsonl. A line that a kill cut short is left out. */
export function parseMetrics(text: string): MetricsRow[] {
  return text.split("\n").flatMap((line) => {
    try {
      const row: unknown = JSON.parse(line);
      return typeof row === "object" && row !== null && "step" in row && typeof row.step === "number" ? [row as MetricsRow] : [];
    } catch {
      return [];
    }
  });
}

const toLine = (row: MetricsRow): string => `${JSON.stringify(row)}\n`;
const encoder = new TextEncoder();
const decoder = new TextDecoder();
