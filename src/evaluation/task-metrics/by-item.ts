/** Keeps what is computed from an item: intervals ask for the same item thousands of times. */
export function byItem<Item extends object, Result>(compute: (item: Item) => Result): (item: Item) => Result {
  const known = new WeakMap<Item, Result>();
  return (item) => {
    let result = known.get(item);
    if (result === undefined) {
      result = compute(item);
      known.set(item, result);
    }
    return result;
  };
}
