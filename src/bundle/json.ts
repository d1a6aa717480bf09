import * as z from 'zod';

// it would make code for each schema, and each is used once a bundle
z.config({ jitless: true });

const DEPTH = 64;

/** Nesting of JSON text, strings left out; stops counting at `most`. */
function deeperThan(text: string, most: number): boolean {
  // most texts do not hold so many brackets at all
  if (!holdsMore(text, most)) return false;
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (quoted) {
      if (c === 0x5c) i++;
      else if (c === 0x22) quoted = false;
    } else if (c === 0x22) quoted = true;
    else if (c === 0x7b || c === 0x5b) {
      if (++depth > most) return true;
    } else if (c === 0x7d || c === 0x5d) depth--;
  }
  return false;
}

/** Whether a text has more opening brackets than that. */
function holdsMore(text: string, most: number): boolean {
  let left = most;
  for (const bracket of '[{')
    for (let at = text.indexOf(bracket); at >= 0; at = text.indexOf(bracket, at + 1)) {
      left -= 1;
      if (left < 0) return true;
    }
  return false;
}

/** JSON.parse with a size cap (characters) and a depth guard; undefined when it is refused or no JSON. Never throws. */
export function parseJson(text: string, cap: number): unknown {
  if (text.length > cap || deeperThan(text, DEPTH)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

// A field of the wrong type is a field that is not there: the record around it stays readable.
const text = z.string().max(4096).nullish().catch(null);
const number = z.number().nullish().catch(null);
const hex64 = z
  .string()
  .regex(/^[0-9a-f]{64}$/)
  .nullish()
  .catch(null);

export const bundleJson = z.object({
  format: z.literal('netcase-bundle'),
  version: number,
  minReader: number,
  id: text,
  collector: z.object({ name: text, version: text }).nullish().catch(null),
  node: z
    .object({
      name: text,
      hostname: text,
      fqdn: text,
      machineIdSha256: hex64,
      bootId: text,
      kernel: text,
      os: text,
    })
    .nullish()
    .catch(null),
  clock: z.object({ epoch: number }).nullish().catch(null),
  context: z.object({ uid: number, netns: text, pid1netns: text, mode: text }).nullish().catch(null),
});
export type BundleJson = z.infer<typeof bundleJson>;

/** One record of manifest.json. */
export interface ManifestRecord {
  readonly id: string;
  readonly path: string | null;
  readonly instance: string | null;
  readonly status: string | null;
  /** Absent when the record does not say it. */
  readonly rc?: number | null;
  readonly reason: string | null;
  readonly argv: readonly string[] | null;
  readonly sha256: string | null;
  readonly bytes: number | null;
  readonly tool: string | null;
  readonly stderr: string | null;
  readonly redactions: number | null;
  readonly ms: number | null;
}

const textIn = (value: unknown, most: number) => (typeof value === 'string' && value.length <= most ? value : null);
const numberIn = (value: unknown) => (typeof value === 'number' && Number.isFinite(value) ? value : null);

function argvIn(value: unknown): readonly string[] | null {
  if (!Array.isArray(value) || value.length > 256) return null;
  return value.every((v) => typeof v === 'string' && v.length <= 4096) ? value : null;
}

/** A record's fields, by hand: a fleet has hundreds of thousands. Null when it has no usable id. */
export function manifestRecord(value: unknown): ManifestRecord | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
  const r = value as Record<string, unknown>;
  const id = textIn(r['id'], 256);
  if (id === null || id === '') return null;
  const hash = textIn(r['sha256'], 64);
  return {
    id,
    path: textIn(r['path'], 2048),
    instance: textIn(r['instance'], 4096),
    status: textIn(r['status'], 64),
    ...(r['rc'] === undefined ? {} : { rc: numberIn(r['rc']) }),
    reason: textIn(r['reason'], 4096),
    argv: argvIn(r['argv']),
    sha256: hash !== null && /^[0-9a-f]{64}$/.test(hash) ? hash : null,
    bytes: numberIn(r['bytes']),
    tool: textIn(r['tool'], 4096),
    stderr: textIn(r['stderr'], 4096),
    redactions: numberIn(r['redactions']),
    ms: numberIn(r['ms']),
  };
}

export const manifestHead = z.object({
  format: z.literal('netcase-bundle'),
  version: number,
  minReader: number,
  id: text,
  t0: number,
});
export type ManifestHead = z.infer<typeof manifestHead>;

export const manifestEnd = z.object({
  records: number,
  complete: z.boolean().nullish().catch(null),
  deadline: z.boolean().nullish().catch(null),
});
export type ManifestEnd = z.infer<typeof manifestEnd>;

const nodeNames = z
  .array(z.union([z.string().max(256), z.object({ node: text, name: text })]))
  .max(10_000)
  .nullish()
  .catch(null);

export const setJson = z.object({
  site: text,
  expected: nodeNames,
  expectedNodes: nodeNames,
  nodes: nodeNames,
  failures: z
    .array(z.union([z.string().max(4096), z.object({ node: text, name: text, reason: text, error: text })]))
    .max(10_000)
    .nullish()
    .catch(null),
});
