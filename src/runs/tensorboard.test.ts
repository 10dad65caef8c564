import protobuf from "protobufjs/light.js";
import { expect, test } from "vitest";
import { createMemoryAppendFile } from "../base/append-file.ts";
import { crc32c } from "../base/crc32c.ts";
import { encodeRecord, eventFileName, maskedCrc32c, openTensorboardLog } from "./tensorboard.ts";

/** Reads a TFRecord file with its checksums, by the format's description alone. */
function readRecords(bytes: Uint8Array): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const unmask = (masked: number): number => {
    const rotated = (masked - 0xa282ead8) >>> 0;
    return ((rotated >>> 17) | (rotated << 15)) >>> 0;
  };
  const records: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Number(view.getBigUint64(at, true));
    expect(unmask(view.getUint32(at + 8, true))).toBe(crc32c(bytes.subarray(at, at + 8)));
    const data = bytes.subarray(at + 12, at + 12 + length);
    expect(unmask(view.getUint32(at + 12 + length, true))).toBe(crc32c(data));
    records.push(data);
    at += 16 + length;
  }
  return records;
}

/** A message's fields by number, read from the wire without the writer's schema. */
function readFields(bytes: Uint8Array): Map<number, (number | Uint8Array)[]> {
  const reader = protobuf.Reader.create(bytes);
  const fields = new Map<number, (number | Uint8Array)[]>();
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    const value = { 0: () => Number(reader.int64()), 1: () => reader.double(), 2: () => reader.bytes(), 5: () => reader.float() }[
      tag & 7
    ]!();
    fields.set(tag >>> 3, [...(fields.get(tag >>> 3) ?? []), value]);
  }
  return fields;
}

const text = (bytes: unknown): string => new TextDecoder().decode(bytes as Uint8Array);

test("the mask is the one of TensorFlow: an empty record is known byte for byte", () => {
  // crc32c of eight zero bytes is 0x8c28b28a; rotated right by 15 bits and added to 0xa282ead8 without carry out of 32 bits.
  expect(crc32c(new Uint8Array(8))).toBe(0x8c28b28a);
  expect(maskedCrc32c(new Uint8Array(8))).toBe((0x65151851 + 0xa282ead8) >>> 0);
  expect(encodeRecord(new Uint8Array())).toHaveLength(16);
});

test("rows become scalars under train/ and eval/", async () => {
  const file = createMemoryAppendFile();
  const log = openTensorboardLog({ file, now: () => 1_700_000_000_500 });
  log.append({ step: 3, loss: 2.5, learning_rate: 2e-4, eval_loss: undefined });
  log.append({ step: 3, eval_loss: 2.25, eval_token_accuracy: 0.5 });
  await log.flush();
  const [version, train, evaluation, ...rest] = readRecords(await file.read()).map(readFields);
  expect(rest).toEqual([]);
  expect(text(version!.get(3)![0])).toBe("brain.Event:2");
  const scalars = (event: ReturnType<typeof readFields>) =>
    readFields(event.get(5)![0] as Uint8Array)
      .get(1)!
      .map((value) => readFields(value as Uint8Array))
      .map((value) => [text(value.get(1)![0]), value.get(2)![0]]);
  expect(train!.get(1)).toEqual([1_700_000_000.5]);
  expect(train!.get(2)).toEqual([3]);
  expect(scalars(train!)).toEqual([
    ["train/loss", 2.5],
    ["train/learning_rate", Math.fround(2e-4)],
  ]);
  expect(scalars(evaluation!)).toEqual([
    ["eval/loss", 2.25],
    ["eval/token_accuracy", 0.5],
  ]);
});

test("a resumed run starts a session at its next step", async () => {
  const file = createMemoryAppendFile();
  await openTensorboardLog({ file, now: () => 0, resumedFrom: 20 }).flush();
  const session = readFields(readRecords(await file.read())[1]!);
  expect(session.get(2)).toEqual([21]);
  expect(readFields(session.get(7)![0] as Uint8Array).get(1)).toEqual([1]);
});

test("names of event files sort by time and are known to TensorBoard", () => {
  expect(eventFileName(1_700_000_000_999)).toBe("events.out.tfevents.1700000000.tunesmith");
});
