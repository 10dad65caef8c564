/**
 * TensorBoard event files: TFRecord frames (length, masked CRC-32C, Event message, masked CRC-32C) of scalar summaries.
 * Written after tensorflow/core/util/event.proto and summary.proto; only the fields that scalars need.
 */
import protobuf from "protobufjs/light.js";
import { crc32c } from "../base/crc32c.ts";

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

/** The first record of an event file. @param wallTime seconds since 1970 */
export const fileHeader = (wallTime: number): Uint8Array<ArrayBuffer> => eventRecord({ wallTime, fileVersion: "brain.Event:2" });

export interface ScalarEvent {
  /** Seconds since 1970. */
  readonly wallTime: number;
  readonly step: number;
  /** By tag, for instance "train/loss". */
  readonly scalars: Readonly<Record<string, number>>;
}

export function scalarRecord({ wallTime, step, scalars }: ScalarEvent): Uint8Array<ArrayBuffer> {
  const value = Object.entries(scalars).map(([tag, simpleValue]) => ({ tag, simpleValue }));
  return eventRecord({ wallTime, step, summary: { value } });
}

/** Says that a run continues with this step: TensorBoard forgets what it read of this and later steps. */
export const resumptionRecord = ({ wallTime, step }: Pick<ScalarEvent, "wallTime" | "step">): Uint8Array<ArrayBuffer> =>
  eventRecord({ wallTime, step, sessionLog: { status: sessionStart } });

const eventRecord = (event: object): Uint8Array<ArrayBuffer> => encodeRecord(eventMessage.encode(eventMessage.fromObject(event)).finish());

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
