/**
 * Indices from the largest value down, the lower index first among equals; minus infinity is left out.
 * Lazy: a heap costs O(V) to build and O(log V) for each index taken, so the top 50 of 150,000 need no full sort.
 */
export function* largestFirst(values: Float32Array): Generator<number, void, undefined> {
  const heap = new Int32Array(values.length);
  let size = 0;
  for (let i = 0; i < values.length; i++) if (values[i]! > Number.NEGATIVE_INFINITY) heap[size++] = i;

  const isBefore = (a: number, b: number): boolean => values[a]! > values[b]! || (values[a] === values[b] && a < b);
  const sink = (start: number): void => {
    const moving = heap[start]!;
    let at = start;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, moving)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = moving;
  };

  for (let i = (size >> 1) - 1; i >= 0; i--) sink(i);
  while (size > 0) {
    yield heap[0]!;
    heap[0] = heap[--size]!;
    sink(0);
  }
}
