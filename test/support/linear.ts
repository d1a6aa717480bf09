const ATTEMPTS = 8;
/** getrusage(2) of a running thread moves by whole ticks of the kernel (4 or 10 ms): what is measured takes many of them. */
const MEASURED = 150;
/** A parser whose time is quadratic needs seconds for the longer text; what is done within this many milliseconds is not. */
const FAST = 60;

/**
 * How much longer `work` takes on twice the text: about 2 when its time is linear, about 4 when it is quadratic, and 1 when it is done
 * before anything could be told. Processor time of this thread over several runs, the least of several attempts: the machine also runs
 * labs and browsers, and a text that outgrows the young generation of the heap costs more for each byte.
 */
export function growth(work: (text: string) => void, build: (size: number) => string): number {
  const [one, two] = [build(80_000), build(160_000)];
  if (perRun(work, two, 1) < FAST) return 1;
  let ratio = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < ATTEMPTS && ratio >= LINEAR; attempt += 1) {
    const double = perRun(work, two, MEASURED);
    ratio = Math.min(ratio, double < FAST ? 1 : double / perRun(work, one, MEASURED));
  }
  return ratio;
}

/**
 * How much longer `work` takes, for each unit of its size, at four times the size: about 1 when its time is linear, 4 when it is quadratic.
 * Processor time of this thread; what is done within `tooShort` milliseconds is never slow: 1.
 */
export async function growthPerUnit(work: (size: number) => unknown, size: number, tooShort: number): Promise<number> {
  let ratio = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < ATTEMPTS && ratio >= PER_UNIT; attempt += 1) {
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
export const LINEAR = 3;
/** The same for growthPerUnit. */
const PER_UNIT = 1.3;

/** Processor time of one run in milliseconds, from as many runs as take `atLeast` milliseconds together. */
function perRun(work: (text: string) => void, text: string, atLeast: number): number {
  const before = process.threadCpuUsage();
  for (let runs = 1; ; runs += 1) {
    work(text);
    const { user, system } = process.threadCpuUsage(before);
    const spent = (user + system) / 1000;
    if (spent >= atLeast) return spent / runs;
  }
}
