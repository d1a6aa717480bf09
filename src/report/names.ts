/** `node-a, node-b and 26 more`; sorted as people count: node-2 before node-10. */
export function names(list: readonly string[], most = 4): string {
  const sorted = ranges([...new Set(list)].sort(byNumber));
  if (sorted.length <= most) return sorted.join(', ');
  const shown = sorted.slice(0, most - 1);
  return `${shown.join(', ')} and ${sorted.length - shown.length} more`;
}

/** Names of nodes as people count; the order of English, which is not asked for usual names: to load it takes longer than to sort. */
export function byNumber(a: string, b: string): number {
  const order = USUAL.test(a) && USUAL.test(b) ? usualOrder(a, b) : a.localeCompare(b, 'en', { numeric: true });
  return order || (a < b ? -1 : a > b ? 1 : 0);
}

const USUAL = /^[a-z0-9.-]*$/;
const isDigit = (code: number) => code >= 48 && code <= 57;

/** Of small letters, digits, dots and dashes: by character, numbers by their value. */
function usualOrder(a: string, b: string): number {
  let [i, j] = [0, 0];
  while (i < a.length && j < b.length) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(j)];
    if (!isDigit(x) || !isDigit(y)) {
      if (x !== y) return x - y;
      i += 1;
      j += 1;
      continue;
    }
    const [m, n] = [numberAt(a, i), numberAt(b, j)];
    if (m.digits.length !== n.digits.length) return m.digits.length - n.digits.length;
    if (m.digits !== n.digits) return m.digits < n.digits ? -1 : 1;
    i = m.end;
    j = n.end;
  }
  return a.length - i - (b.length - j);
}

function numberAt(text: string, start: number): { readonly digits: string; readonly end: number } {
  let end = start;
  while (end < text.length && isDigit(text.charCodeAt(end))) end += 1;
  return { digits: text.slice(start, end).replace(/^0+(?=.)/, ''), end };
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

/** A name as a word of its own: node `a` does not stand in `was`, nor node-1 in node-10. */
export function wordOf(name: string): RegExp {
  const text = name.replace(/[^\w-]/g, (c) => `\\u{${c.codePointAt(0)?.toString(16)}}`).replaceAll('-', '\\x2d');
  return new RegExp(`(?<![\\w.\\x2d])${text}(?![\\w\\x2d]|\\.\\w)`, 'gu');
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${thousands(count)} ${count === 1 ? one : many}`;
}

/** `12,345`, without loading what formats numbers of every language. */
export function thousands(count: number): string {
  return String(count).replace(/\B(?=(?:\d{3})+$)/g, ',');
}
