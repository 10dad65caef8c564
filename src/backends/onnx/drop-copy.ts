/**
 * ONNX Runtime's binding for Node copies every result into new memory, also what it wrote where the caller wanted it (onnxruntime 1.30).
 * Left to the collector, such copies make V8 mark its whole heap after every 64 MB of them, on threads that take the cores from the work:
 * 18 times in a step of a 135M model, an eighth of its time. What is transferred to a port that nobody reads is gone at once.
 */
const nowhere = closedPort();

/** Gives the memory of a result back that stands in the caller's tensor too; leaves it to the collector where it cannot be transferred. */
export function dropCopy(copy: ArrayBufferView, original: ArrayBufferView): void {
  if (copy.buffer === original.buffer || !(copy.buffer instanceof ArrayBuffer)) return;
  try {
    nowhere.postMessage(null, [copy.buffer]);
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
