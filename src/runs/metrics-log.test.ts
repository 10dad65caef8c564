import { expect, test } from "vitest";
import { createMemoryAppendFile } from "../base/append-file.ts";
import { openMetricsLog, parseMetrics } from "./metrics-log.ts";

const textOf = async (file: { read(): Promise<Uint8Array> }): Promise<string> => new TextDecoder().decode(await file.read());

test("rows are lines, in order, under their names", async () => {
  const file = createMemoryAppendFile();
  const log = await openMetricsLog(file);
  log.append({ step: 1, epoch: 0.5, loss: 2.5, learning_rate: 2e-4, grad_norm: 1.25, eval_loss: undefined });
  log.append({ step: 1, eval_loss: 2.4, eval_perplexity: 11.02, eval_token_accuracy: 0.41 });
  await log.flush();
  expect(await textOf(file)).toBe(
    '{"step":1,"epoch":0.5,"loss":2.5,"learning_rate":0.0002,"grad_norm":1.25}\n{"step":1,"eval_loss":2.4,"eval_perplexity":11.02,"eval_token_accuracy":0.41}\n',
  );
  expect(parseMetrics(await textOf(file))).toEqual(log.rows.map((row) => JSON.parse(JSON.stringify(row))));
});

test("resuming drops the rows after the checkpoint and a line that a kill cut short", async () => {
  const file = createMemoryAppendFile(
    "metrics.jsonl",
    new TextEncoder().encode('{"step":1}\n{"step":2}\n{"step":2,"eval_loss":3}\n{"step":3}\n{"step":4,"lo'),
  );
  const log = await openMetricsLog(file, { resumedFrom: 2 });
  log.append({ step: 3, loss: 1 });
  await log.flush();
  expect(await textOf(file)).toBe('{"step":1}\n{"step":2}\n{"step":2,"eval_loss":3}\n{"step":3,"loss":1}\n');
  expect(log.rows.map(({ step }) => step)).toEqual([1, 2, 2, 3]);
});

test("a new run starts with an empty file", async () => {
  const file = createMemoryAppendFile("metrics.jsonl", new TextEncoder().encode('{"step":9}\n'));
  await openMetricsLog(file);
  expect(await textOf(file)).toBe("");
});

test("a failed write is reported by flush, and nothing is written after it", async () => {
  const file = createMemoryAppendFile();
  const { append } = file;
  let calls = 0;
  file.append = async (bytes) => {
    if (++calls === 2) throw new Error("disk full");
    await append(bytes);
  };
  const log = await openMetricsLog(file);
  for (const step of [1, 2, 3]) log.append({ step });
  await expect(log.flush()).rejects.toThrow("disk full");
  expect(await textOf(file)).toBe('{"step":1}\n');
});
