import { readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib';
import { readInput } from '../../../src/bundle/index.ts';
import type { ProbeResult } from '../lab/index.ts';
import { member } from '../tar-builder.ts';
import type { Plan } from './plan.ts';
import type { Expected } from './scenario.ts';
import type { TraceRequest } from './tracer.ts';

/** A bundle as a recording keeps it: its members, which many bundles share. */
interface Kept {
  readonly name: string;
  readonly members: readonly (readonly [path: string, text: number])[];
}

interface File<T> {
  readonly about: T;
  readonly texts: readonly string[];
  readonly bundles: readonly Kept[];
}

/** A bundle file in memory, byte for byte what the collector packed. */
export interface MemoryBundle {
  readonly name: string;
  readonly bytes: Buffer;
}

/** A probe about which trace and kernel once disagreed: the kernel's answer, and the lab that it came from. */
export interface KeptCase {
  readonly plan: Plan;
  readonly request: TraceRequest;
  readonly results: readonly ProbeResult[];
}

/** A stage of a scenario of ground-truth.md: its bundles by name, what was probed, what came of it. */
export interface RecordedStage {
  readonly scenario: string;
  readonly stage: number;
  readonly rows: readonly Expected[];
  readonly requests: readonly TraceRequest[];
  readonly bundles: readonly string[];
}

export interface Recording<T> {
  readonly about: T;
  readonly bundles: readonly MemoryBundle[];
}

/** Writes bundles and what is known about them as one small file: equal texts once, alike ones next to nothing. */
export async function writeRecording<T>(path: string, about: T, bundles: readonly string[]): Promise<void> {
  const texts = new Map<string, number>();
  const kept: Kept[] = [];
  for (const file of bundles) {
    const [read] = await readInput(file, { name: basename(file) });
    if (read === undefined || !read.ok) throw new Error(`${file}: ${JSON.stringify(read)}`);
    const members = [...read.bundle.members].map(([at, { bytes }]) => {
      const text = Buffer.from(bytes).toString('latin1');
      if (!texts.has(text)) texts.set(text, texts.size);
      return [at, texts.get(text)!] as const;
    });
    kept.push({ name: basename(file), members });
  }
  const file: File<T> = { about, texts: [...texts.keys()], bundles: kept };
  const raw = Buffer.from(JSON.stringify(file));
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: raw.length > 4_000_000 ? 9 : 11,
    [constants.BROTLI_PARAM_LGWIN]: 24,
    [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT,
    [constants.BROTLI_PARAM_SIZE_HINT]: raw.length,
  };
  writeFileSync(path, brotliCompressSync(raw, { params }));
}

export function readRecording<T>(path: string): Recording<T> {
  const file = JSON.parse(brotliDecompressSync(readFileSync(path)).toString()) as File<T>;
  return {
    about: file.about,
    bundles: file.bundles.map(({ name, members }) => {
      const stem = name.replace(/\.tar\.gz$/, '');
      const parts = members.map(([at, text]) => member(`${stem}/${at}`, Buffer.from(file.texts[text]!, 'latin1')));
      return { name, bytes: Buffer.concat([...parts, Buffer.alloc(1024)]) };
    }),
  };
}
