/** Room for virtual tokens in front of every document of a batch: placeholder ids that a method gives embeddings to. They carry no loss. */
import type { Batch, TokenRows } from "./batch.ts";

export interface VirtualTokens {
  readonly count: number;
  /** Id of the first placeholder; the others follow. */
  readonly firstId: number;
  /** True if a head that reads the beginning of a document reads the first placeholder then, as in PEFT, and not the token behind them. */
  readonly movesBeginning?: boolean;
}

/** In front of what is read first: of an encoder-decoder the encoder's rows, as in PEFT. Positions count the placeholders; targets keep their order.
 * @param tokenMultiple what lengths are padded to */
export function insertVirtualTokens(batch: Batch, virtual: VirtualTokens, tokenMultiple = 8): Batch {
  const options = { ...virtual, batchSize: batch.batchSize, tokenMultiple };
  if (batch.encoder) return { ...batch, encoder: lengthen(batch.encoder, options).rows };
  const { rows, movedTo } = lengthen(batch, options);
  return { ...batch, ...rows, targetPositions: batch.targetPositions.map((position) => movedTo[position]!) };
}

interface Lengthening extends VirtualTokens {
  readonly batchSize: number;
  readonly tokenMultiple: number;
}

/** Rows that grow by `count` tokens a document, and where each token moved to. */
function lengthen(
  batch: TokenRows,
  { count, firstId, movesBeginning, batchSize, tokenMultiple }: Lengthening,
): { rows: TokenRows; movedTo: Int32Array } {
  const { documentIds } = batch;
  const starts = Array.from({ length: batchSize }, () => 0);
  const used = Array.from({ length: batchSize }, () => 0);
  const isStart = (i: number): boolean => documentIds[i]! >= 0 && (i % batch.tokens === 0 || documentIds[i] !== documentIds[i - 1]);
  documentIds.forEach((id, i) => {
    const row = Math.floor(i / batch.tokens);
    if (isStart(i)) starts[row]!++;
    if (id >= 0) used[row] = (i % batch.tokens) + 1;
  });
  const longest = Math.max(...used.map((length, row) => length + count * starts[row]!));
  const tokens = Math.ceil(longest / tokenMultiple) * tokenMultiple;
  const longer = {
    inputIds: new Int32Array(batchSize * tokens),
    positionIds: new Int32Array(batchSize * tokens),
    documentIds: new Int32Array(batchSize * tokens).fill(-1),
    ...(batch.tokenTypeIds && { tokenTypeIds: new Int32Array(batchSize * tokens) }),
  };
  const movedTo = new Int32Array(documentIds.length);
  for (let row = 0; row < batchSize; row++) {
    let at = row * tokens;
    for (let i = row * batch.tokens; i < row * batch.tokens + used[row]!; i++) {
      const document = documentIds[i]!;
      if (isStart(i)) {
        for (let v = 0; v < count; v++, at++) {
          longer.inputIds[at] = firstId + v;
          longer.positionIds[at] = v;
          longer.documentIds[at] = document;
        }
      }
      longer.inputIds[at] = batch.inputIds[i]!;
      longer.positionIds[at] = batch.positionIds[i]! + count;
      longer.documentIds[at] = document;
      if (longer.tokenTypeIds) longer.tokenTypeIds[at] = batch.tokenTypeIds![i]!;
      movedTo[i] = movesBeginning && isStart(i) ? at - count : at;
      at++;
    }
  }
  return { rows: { ...longer, tokens }, movedTo };
}
