/**
 * TensorBoard event files: TFRecord frames (length, masked CRC-32C, Event message, masked CRC-32C) of scalar summaries.
 * Written after tensorflow/core/util/event.proto and summary.proto; only the fields that scalars need.
 */
import protobuf from "protobufjs/light.js";
import type { AppendFile } from "../base/append-file.ts";
import { crc32c } from "../base/crc32c.ts";
import type { MetricsRow } from "./metrics-log.ts";
import { createWriteQueue } from "./write-queue.ts";

const root = protobuf.Root.fromJSON({
  nested: {
    Event: {
      fields: {
        wallTime: { type: "double", id: 1 },
        step: { type: "int64", id: 2 },
        fileVersion: { type: "string", id: 3 },
        summary: { type: "Summary", id: 5 },
        sessionLog: { type: "SessionLog", id: 7 },
      },
    },
    Summary: { fields: { value: { rule: "repeated", type: "Value", id: 1 } } },
    Value: { fields: { tag: { type: "string", id: 1 }, simpleValue: { type: "float", id: 2 } } },
    SessionLog: { fields: { status: { type: "int32", id: 1 } } },
  },
});
const eventMessage = root.lookupType("Event");
const sessionStart = 1;

export interface TensorboardLog {
  append(row: MetricsRow): void;
  /** @throws if an event could not be written */
  flush(): Promise<void>;
}

export interface TensorboardOptions {
  /** A new file for each start of a run; TensorBoard reads those of a folder in the order of their names (see eventFileName). */
  readonly file: AppendFile;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** TensorBoard then forgets the points of later steps in earlier files. */
  readonly resumedFrom?: number | undefined;
}

export function openTensorboardLog({ file, now, resumedFrom }: TensorboardOptions): TensorboardLog {
  const queue = createWriteQueue();
  const write = (event: object): void => {
    const message = eventMessage.fromObject({ wallTime: now() / 1000, ...event });
    const record = encodeRecord(eventMessage.encode(message).finish());
    queue.add(() => file.append(record));
  };
  write({ fileVersion: "brain.Event:2" });
  if (resumedFrom !== undefined) write({ step: resumedFrom + 1, sessionLog: { status: sessionStart } });
  return {
    append({ step, ...row }) {
      const value = Object.entries(row).flatMap(([name, number]) =>
        number === undefined ? [] : [{ tag: tagOf(name), simpleValue: number }],
      );
      write({ step, summary: { value } });
    },
    flush: queue.flush,
  };
}

/** `events.out.tfevents.<seconds>.tunesmith`, with ten digits so that names sort by time. */
export const eventFileName = (milliseconds: number): string =>
  `events.out.tfevents.${String(Math.floor(milliseconds / 1000)).padStart(10, "0")}.tunesmith`;

/** "eval_loss" is "eval/loss", everything else "train/<name>", as the Hugging Face Trainer has it. */
const tagOf = (name: string): string => (name.startsWith("eval_") ? `eval/${name.slice("eval_".length)}` : `train/${name}`);

/** One TFRecord frame. */
export function encodeRecord(data: Uint8Array): Uint8Array<ArrayBuffer> {
  const record = new Uint8Array(8 + 4 + data.length + 4);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, maskedCrc32c(record.subarray(0, 8)), true);
  record.set(data, 12);
  view.setUint32(12 + data.length, maskedCrc32c(data), true);
  return record;
}

/** Masked, because a checksum over bytes that hold checksums is weak. */
export function maskedCrc32c(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
