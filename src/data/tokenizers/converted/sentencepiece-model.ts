/** Reads the fields of a sentencepiece model (sentencepiece_model.proto) that say how text becomes pieces. */
import protobuf from "protobufjs/light.js";
import { CheckpointError } from "../../../base/errors.ts";

const field = (type: string, id: number, usual?: unknown) => ({ type, id, ...(usual !== undefined && { options: { default: usual } }) });

/** With explicit presence: what is absent has its usual value, and false or 0 is what the file says. */
const edition = "proto2";

const model = protobuf.Root.fromJSON({
  nested: {
    ModelProto: {
      edition,
      fields: {
        pieces: { rule: "repeated", ...field("Piece", 1) },
        trainerSpec: field("TrainerSpec", 2),
        normalizerSpec: field("NormalizerSpec", 3),
      },
    },
    Piece: { edition, fields: { piece: field("string", 1), score: field("float", 2), type: field("int32", 3, 1) } },
    TrainerSpec: {
      edition,
      fields: {
        ...{ modelType: field("int32", 3, 1), byteFallback: field("bool", 35) },
        ...{ unkId: field("int32", 40, 0), bosId: field("int32", 41, 1), eosId: field("int32", 42, 2), padId: field("int32", 43, -1) },
      },
    },
    NormalizerSpec: {
      edition,
      fields: {
        ...{ name: field("string", 1), precompiledCharsmap: field("bytes", 2) },
        ...{ addDummyPrefix: field("bool", 3, true), removeExtraWhitespaces: field("bool", 4, true) },
      },
    },
  },
}).lookupType("ModelProto");

export const pieceTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;
export const modelTypes = { unigram: 1, bpe: 2, word: 3, char: 4 } as const;

export interface SentencePiece {
  readonly piece: string;
  /** Log-probability (Unigram), or minus the rank of the merge (BPE). */
  readonly score: number;
  /** Of `pieceTypes`. */
  readonly type: number;
}

export interface SentencepieceModel {
  /** By id. */
  readonly pieces: readonly SentencePiece[];
  readonly trainerSpec: {
    /** Of `modelTypes`. */
    readonly modelType: number;
    /** Characters without a piece become bytes. */
    readonly byteFallback: boolean;
    /** Below 0: there is none. */
    readonly unkId: number;
    readonly bosId: number;
    readonly eosId: number;
    readonly padId: number;
  };
  readonly normalizerSpec: {
    /** nmt_nfkc, nfkc_cf, identity and so on. */
    readonly name: string;
    readonly precompiledCharsmap: Uint8Array;
    /** A space is put in front of every text. */
    readonly addDummyPrefix: boolean;
    readonly removeExtraWhitespaces: boolean;
  };
}

/** @throws CheckpointError if the bytes are no such model */
export function readSentencepieceModel(bytes: Uint8Array, name: string): SentencepieceModel {
  let read: Partial<SentencepieceModel>;
  try {
    read = model.decode(bytes) as unknown as Partial<SentencepieceModel>;
  } catch (error) {
    throw new CheckpointError(`${name} is not a sentencepiece model: ${(error as Error).message}. Download it again.`);
  }
  if (!read.pieces?.length || !read.trainerSpec || !read.normalizerSpec)
    throw new CheckpointError(
      `${name} is not a sentencepiece model: it holds no ${read.pieces?.length ? "specifications" : "pieces"}. Download it again.`,
    );
  return read as SentencepieceModel;
}
