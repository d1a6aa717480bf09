/** How far two texts are the same from two places on, in bytes. Runs are compared by native memcmp in growing steps. */
export function sameLength(a: Buffer, s: number, b: Buffer, t: number): number {
  const most = Math.min(a.length - s, b.length - t);
  let n = 0;
  const near = Math.min(most, 320);
  while (n < near && a[s + n] === b[t + n]) n += 1;
  if (n < near || n === most) return n;
  let step = 256;
  while (step >= 32) {
    const end = Math.min(n + step, most);
    if (a.compare(b, t + n, t + end, s + n, s + end) === 0) {
      n = end;
      if (n === most) return n;
      step *= 2;
    } else {
      step = Math.min(step, end - n) >> 1;
      // the step that failed bounds the search: from here on only halve
      while (step >= 32) {
        if (a.compare(b, t + n, t + n + step, s + n, s + n + step) === 0) n += step;
        step >>= 1;
      }
    }
  }
  while (n < most && a[s + n] === b[t + n]) n += 1;
  return n;
}
