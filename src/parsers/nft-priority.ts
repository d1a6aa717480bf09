const IP = new Map([
  ['raw', -300],
  ['mangle', -150],
  ['dstnat', -100],
  ['filter', 0],
  ['security', 50],
  ['srcnat', 100],
]);
const BRIDGE = new Map([
  ['dstnat', -300],
  ['filter', -200],
  ['out', 100],
  ['srcnat', 300],
]);

/** `filter + 10`, `dstnat`, `-100` as a number; the words mean other numbers in the bridge family. Null: not known. */
export function readPriority(text: string, family: string): number | null {
  const m = /^\s*(?:([a-z]+)|([+-]?\d{1,10}))\s*(?:([+-])\s*(\d{1,10}))?\s*$/.exec(text);
  if (m === null) return null;
  const base = m[1] === undefined ? Number(m[2]) : (family === 'bridge' ? BRIDGE : IP).get(m[1]);
  if (base === undefined) return null;
  return m[3] === undefined ? base : base + (m[3] === '-' ? -1 : 1) * Number(m[4]);
}
