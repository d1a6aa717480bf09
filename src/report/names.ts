/** `node-a, node-b and 26 more`; sorted as people count: node-2 before node-10. */
export function names(list: readonly string[], most = 4): string {
  const sorted = ranges([...new Set(list)].sort(byNumber));
  if (sorted.length <= most) return sorted.join(', ');
  const shown = sorted.slice(0, most - 1);
  return `${shown.join(', ')} and ${sorted.length - shown.length} more`;
}

export function byNumber(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true }) || (a < b ? -1 : a > b ? 1 : 0);
}

/** Folds runs of three or more: node-01, node-02, node-03 -> node-01…node-03. */
export function ranges(sorted: readonly string[]): string[] {
  const out: string[] = [];
  for (let i = 0; i < sorted.length; ) {
    let j = i;
    while (j + 1 < sorted.length && follows(sorted[j] as string, sorted[j + 1] as string)) j += 1;
    if (j - i >= 2) out.push(`${sorted[i]}…${sorted[j]}`);
    else out.push(...sorted.slice(i, j + 1));
    i = j + 1;
  }
  return out;
}

function follows(a: string, b: string): boolean {
  const [x, y] = [/^(.*?)(\d+)(\D*)$/.exec(a), /^(.*?)(\d+)(\D*)$/.exec(b)];
  if (x === null || y === null || x[1] !== y[1] || x[3] !== y[3]) return false;
  return Number(y[2]) === Number(x[2]) + 1 && (x[2]?.length === y[2]?.length || x[2]?.[0] !== '0');
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString('en-US')} ${count === 1 ? one : many}`;
}
