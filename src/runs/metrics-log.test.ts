import { expect, test } from "vitest";
import { openMetricsLog } from "./metrics-log.ts";

const files = { metrics: "metrics.jsonl", events: "events.out.tfevents.tunesmith" };

/** A folder in memory. */
function memoryFolder(contents: Record<string, string> = {}) {
  const bytesOf = (content: unknown): string =>
    typeof content === "string" ? content : Buffer.from(content as Uint8Array).toString("latin1");
  return {
    contents,
    has: async (file: string) => file in contents,
    readText: async (file: string) => contents[file]!,
    async write(file: string, content: unknown) {
      contents[file] = bytesOf(content);
    },
    async append(file: string, content: unknown) {
      contents[file] = (contents[file] ?? "") + bytesOf(content);
    },
  };
}

test("rows are lines under the field's names, and scalars for TensorBoard", async () => {
  const folder = memoryFolder();
  const log = await openMetricsLog({ folder, files, resume: false });
  log.add({ step: 1, epoch: 0.5, loss: 2.5, learning_rate: 2e-4, grad_norm: 1.25, wall_seconds: 1 });
  log.add({ step: 1, eval_loss: 2.4, eval_perplexity: 11.02, eval_token_accuracy: 0.41, wall_seconds: 2 });
  await log.flush();
  expect(folder.contents[files.metrics]).toBe(
    '{"step":1,"epoch":0.5,"loss":2.5,"learning_rate":0.0002,"grad_norm":1.25,"wall_seconds":1}\n' +
      '{"step":1,"eval_loss":2.4,"eval_perplexity":11.02,"eval_token_accuracy":0.41,"wall_seconds":2}\n',
  );
  for (const tag of ["brain.Event:2", "train/loss", "train/grad_norm", "eval/token_accuracy"]) {
    expect(folder.contents[files.events]).toContain(tag);
  }
});

test("resuming drops later rows and a line that a kill cut short; the clock goes on", async () => {
  const folder = memoryFolder({
    [files.metrics]: '{"step":1,"wall_seconds":5}\n{"step":2,"wall_seconds":9}\n{"step":3,"wall_seconds":14}\n{"step":4,"lo',
    [files.events]: "before",
  });
  let time = 1_000_000;
  const log = await openMetricsLog({ folder, files, resume: true, now: () => time });
  log.keepUpTo(2);
  time += 3000;
  expect(log.seconds()).toBe(12);
  log.add({ step: 3, loss: 1, wall_seconds: log.seconds() });
  await log.flush();
  expect(folder.contents[files.metrics]).toBe(
    '{"step":1,"wall_seconds":5}\n{"step":2,"wall_seconds":9}\n{"step":3,"loss":1,"wall_seconds":12}\n',
  );
  expect(log.rows.map(({ step }) => step)).toEqual([1, 2, 3]);
  expect(folder.contents[files.events]).toMatch(/^before/);
  expect(folder.contents[files.events]).not.toContain("brain.Event");
});

test("a failed write is reported by flush, and nothing is written after it", async () => {
  const folder = memoryFolder();
  const { append } = folder;
  folder.append = async (file, content) => {
    if (String(content).includes('"step":2')) throw new Error("disk full");
    await append(file, content);
  };
  const log = await openMetricsLog({ folder, files, resume: false });
  for (const step of [1, 2, 3]) log.add({ step, wall_seconds: step });
  await expect(log.flush()).rejects.toThrow("disk full");
  expect(folder.contents[files.metrics]).toBe('{"step":1,"wall_seconds":1}\n');
});
