import type { Fact, KernelCounters, TextLine } from '../facts/index.ts';
import type { Source } from './devices.ts';

/** A line of the kernel's log. */
export interface Logged {
  readonly fact: Fact<'kernelLog'>;
  readonly at: TextLine;
  /** Seconds between it and the collection; null: the form of its time, or the node's uptime, does not tell. */
  readonly ago: number | null;
}

const STAMP = /^\[\s*(\d+\.\d+)\]/;

/** The last line that matches; null: there is none, or no log. */
export function lastLogged(source: Source<'kernelLog' | 'uptime'>, what: RegExp): Logged | null {
  const [fact, uptime] = [source.get('kernelLog'), source.get('uptime')];
  if (fact.missing) return null;
  const at = fact.value.lines.findLast((l) => what.test(l.text));
  if (at === undefined) return null;
  const stamp = STAMP.exec(at.text)?.[1];
  const now = uptime.missing ? undefined : /^\d+(\.\d+)?/.exec(uptime.value.lines[0]?.text ?? '')?.[0];
  const ago = stamp === undefined || now === undefined ? null : Number(now) - Number(stamp);
  return { fact, at, ago: ago === null || ago < -60 ? null : Math.max(0, ago) };
}

/** Does the log go back to the start of the kernel, and is it whole? Then a line that is not in it was never written. */
export function isFromStart(fact: Fact<'kernelLog'>): fact is Fact<'kernelLog'> & { readonly closed: true } {
  const first = STAMP.exec(fact.value.lines[0]?.text ?? '')?.[1];
  return fact.closed && first !== undefined && Number(first) < 1;
}

/** `4 minutes`, `3 hours`, `12 days`. */
export function span(seconds: number): string {
  const [size, word] =
    seconds < 5400
      ? ([60, 'minute'] as const)
      : seconds < 172_800
        ? ([3600, 'hour'] as const)
        : ([86_400, 'day'] as const);
  const n = Math.round(seconds / size);
  return `${n} ${word}${n === 1 ? '' : 's'}`;
}

/** A counter over all processors, with the line that shows most of it; null: it is not shown. The kernel's own form wins over the tool's. */
export function counted(
  { rows }: KernelCounters,
  name: string,
): { readonly total: number; readonly line: number } | null {
  const form = rows.some((r) => r.form === 'proc' && name in r.values) ? 'proc' : 'tool';
  const own = rows.filter((r) => r.form === form && name in r.values);
  const most = own.reduce<(typeof own)[number] | undefined>(
    (best, r) => (best === undefined || (r.values[name] ?? 0) > (best.values[name] ?? 0) ? r : best),
    undefined,
  );
  if (most === undefined) return null;
  return { total: own.reduce((sum, r) => sum + (r.values[name] ?? 0), 0), line: most.line };
}
