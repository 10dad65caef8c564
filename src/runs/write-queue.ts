/** Writes that follow each other while nobody waits: a training step must not wait for the disk, and must not overtake an earlier line. */
export interface WriteQueue {
  add(write: () => Promise<void>): void;
  /** Resolves when everything added so far is written.
   * @throws the first error of a write; what was added after it is not written */
  flush(): Promise<void>;
}

export function createWriteQueue(): WriteQueue {
  let last: Promise<void> = Promise.resolve();
  return {
    add(write) {
      last = last.then(write);
      // flush() reports it; without this Node would end the process first.
      last.catch(() => {});
    },
    flush: () => last,
  };
}
