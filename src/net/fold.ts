/** Pairs that behave alike: every node of `from` to every other node of `to`. */
export interface Block {
  readonly from: readonly string[];
  readonly to: readonly string[];
}

/**
 * Folds a matrix of classes (row: from, column: to, the diagonal void) into blocks a class: rows that say the same of the same columns
 * are one block. Linear in the matrix.
 */
export function foldPairs(
  ids: readonly string[],
  classOf: (from: number, to: number) => number,
): ReadonlyMap<number, readonly Block[]> {
  const n = ids.length;
  const rows = new Map<number, Map<string, { from: number[]; to: number[] }>>();
  for (let a = 0; a < n; a += 1) {
    const columns = new Map<number, number[]>();
    for (let b = 0; b < n; b += 1) {
      if (a === b) continue;
      const c = classOf(a, b);
      const list = columns.get(c);
      if (list === undefined) columns.set(c, [b]);
      else list.push(b);
    }
    for (const [c, list] of columns) {
      // "all others" must be the same for every row: the void diagonal joins the list
      const whole = list.length === n - 1;
      const key = whole ? 'all' : runs(list);
      let blocks = rows.get(c);
      if (blocks === undefined) {
        blocks = new Map();
        rows.set(c, blocks);
      }
      const block = blocks.get(key);
      if (block === undefined) blocks.set(key, { from: [a], to: whole ? ids.map((_, i) => i) : list });
      else block.from.push(a);
    }
  }
  const names = (list: readonly number[]) => list.map((i) => ids[i] as string);
  return new Map(
    [...rows].map(([c, blocks]) => [c, [...blocks.values()].map((b) => ({ from: names(b.from), to: names(b.to) }))]),
  );
}

/** `0-4,7`: a short name of a sorted list. */
function runs(list: readonly number[]): string {
  let text = '';
  for (let i = 0; i < list.length; ) {
    let j = i;
    while (j + 1 < list.length && list[j + 1] === (list[j] as number) + 1) j += 1;
    text += `${list[i]}-${list[j]},`;
    i = j + 1;
  }
  return text;
}

/** How many ordered pairs of different nodes the blocks hold. */
export function pairsIn(blocks: readonly Block[]): number {
  return blocks.reduce((sum, { from, to }) => {
    const targets = new Set(to);
    return sum + from.length * to.length - from.filter((id) => targets.has(id)).length;
  }, 0);
}
