const ATTEMPTS = 8;

/**
 * How much longer `work` takes on twice the text: about 2 when its time is linear, about 4 when it is quadratic.
 * Processor time of this thread, the least of several runs: the machine also runs labs and browsers. Work that is done within `tooShort`
 * milliseconds is never slow, and its clock says nothing: 1.
 */
export function growth(work: (text: string) => void, build: (size: number) => string, tooShort: number): number {
  const [one, two] = [build(80_000), build(160_000)];
  if (least(work, two, 1) < tooShort) return 1;
  let ratio = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < ATTEMPTS && ratio >= LINEAR; attempt += 1) {
    // twice is enough where time is linear; only what looks slow is measured with more care
    const base = least(work, one, 2 + attempt);
    const double = least(work, two, 2 + attempt);
    ratio = Math.min(ratio, double < tooShort ? 1 : double / base);
  }
  return ratio;
}

/**
 * How much longer `work` takes, for each unit of its size, at four times the size: about 1 when its time is linear, 4 when it is quadratic.
 * Processor time of this thread; what is done within `tooShort` milliseconds is never slow: 1.
 */
export async function growthPerUnit(work: (size: number) => unknown, size: number, tooShort: number): Promise<number> {
  let ratio = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < ATTEMPTS && ratio >= LINEAR / 2; attempt += 1) {
    const large = await cost(work, 4 * size);
    ratio = Math.min(ratio, large < tooShort ? 1 : large / (await cost(work, size)) / 4);
  }
  return ratio;
}

async function cost(work: (size: number) => unknown, size: number): Promise<number> {
  const before = process.threadCpuUsage();
  await work(size);
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / 1000;
}

/** Above this, time grows faster than the text. */
export const LINEAR = 2.6;

function least(work: (text: string) => void, text: string, runs: number): number {
  let min = Number.POSITIVE_INFINITY;
  for (let run = 0; run < runs; run += 1) {
    const before = process.threadCpuUsage();
    work(text);
    const { user, system } = process.threadCpuUsage(before);
    min = Math.min(min, (user + system) / 1000);
  }
  return min;
}
