/** metrics.jsonl and the TensorBoard event file of a run, written in order behind the training loop. */
import type { RunFolder } from "./environment.ts";
import { type MetricsRow, parseMetrics, scalarsOf } from "./metrics.ts";
import { fileHeader, resumptionRecord, scalarRecord } from "./tensorboard.ts";

export interface MetricsLog {
  /** Of this run from its first step, those before a resumption included. */
  readonly rows: readonly MetricsRow[];
  /** Returns at once; flush() waits. */
  add(row: MetricsRow): void;
  /** The run continues after this step: later rows go from the file, and from what TensorBoard shows. */
  keepUpTo(step: number): void;
  /** Since the run began, the time between interruption and resumption left out. */
  seconds(): number;
  /** @throws the first error of a write, for instance of a full disk; nothing after it was written */
  flush(): Promise<void>;
}

export interface MetricsLogOptions {
  readonly folder: Pick<RunFolder, "has" | "readText" | "write" | "append">;
  readonly files: { readonly metrics: string; readonly events: string };
  /** Reads what the run wrote before; keepUpTo must follow. */
  readonly resume: boolean;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

export async function openMetricsLog({ folder, files, resume, now = Date.now }: MetricsLogOptions): Promise<MetricsLog> {
  let rows = resume && (await folder.has(files.metrics)) ? parseMetrics(await folder.readText(files.metrics)) : [];
  let started = now();
  let pending: Promise<void> = (await folder.has(files.events)) ? Promise.resolve() : folder.append(files.events, fileHeader(now() / 1000));
  const enqueue = (write: () => Promise<void>): void => {
    pending = pending.then(write);
    // Reported by flush; without this, Node would end the process at once.
    pending.catch(() => {});
  };
  return {
    get rows() {
      return rows;
    },
    add(row) {
      rows.push(row);
      const record = scalarRecord({ wallTime: now() / 1000, step: row.step, scalars: scalarsOf(row) });
      enqueue(async () => {
        await folder.append(files.metrics, toLine(row));
        await folder.append(files.events, record);
      });
    },
    keepUpTo(step) {
      rows = rows.filter((row) => row.step <= step);
      started = now() - 1000 * (rows.at(-1)?.wall_seconds ?? 0);
      const text = rows.map(toLine).join("");
      const record = resumptionRecord({ wallTime: now() / 1000, step: step + 1 });
      enqueue(async () => {
        await folder.write(files.metrics, text);
        await folder.append(files.events, record);
      });
    },
    seconds: () => (now() - started) / 1000,
    flush: () => pending,
  };
}

const toLine = (row: MetricsRow): string => `${JSON.stringify(row)}\n`;
