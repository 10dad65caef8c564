/**
 * Gives the memory of results back before a collector finds them. ONNX Runtime's binding for Node copies every result into new memory, also
 * what it wrote where the caller wanted it (onnxruntime 1.30), and after every 64 MB of such memory V8 marks its whole heap, on threads
 * that take the cores from the work: 18 times in a step of a 135M model, an eighth of its time.
 */
const nowhere = closedPort();

/** Bytes. Smaller arrays are left to the collector: freed one by one among larger ones they scatter the process's memory (docs/log.md). */
const least = 2 ** 20;

/** The array is empty afterwards, unless its memory cannot be transferred; that is left to the collector. What is transferred to a port that nobody reads is gone at once. */
export function giveBack({ buffer }: ArrayBufferView): void {
  if (!(buffer instanceof ArrayBuffer) || buffer.byteLength < least) return;
  try {
    nowhere.postMessage(null, [buffer]);
  } catch (error) {
    if ((error as Error).name !== "DataCloneError") throw error;
  }
}

function closedPort(): MessagePort {
  const { port1, port2 } = new MessageChannel();
  port1.close();
  port2.close();
  return port1;
}
