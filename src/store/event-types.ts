import * as z from 'zod/mini';
import { CaseError } from './error.ts';

const text = z.string();
const maybe = z.nullable(z.string());
const sha256 = z.string().check(z.regex(/^[0-9a-f]{64}$/));
const count = z.number().check(z.nonnegative(), z.int());

/** Current payload of each event type. A change of meaning or shape is a new version with an upcast below. */
const PAYLOADS = {
  'case.opened': z.strictObject({ format: count }),
  'bundle.ingested': z.strictObject({
    sha256,
    source: text,
    node: text,
    format: text,
    size: count,
    collectedAt: maybe,
    identity: z.object({ hostname: maybe, machineIdSha256: maybe, bootId: maybe }),
    collector: z.nullable(z.object({ name: text, version: text })),
    context: z.object({ uid: z.nullable(z.number()), netns: maybe, pid1netns: maybe, mode: maybe }),
    complete: z.boolean(),
    evidenceBlob: sha256,
  }),
  'bundle.rejected': z.strictObject({ source: text, sha256: z.nullable(sha256), code: text, message: text }),
  'bundle.withdrawn': z.strictObject({ sha256, because: text }),
  'analysis.completed': z.strictObject({
    ruleset: text,
    tool: text,
    position: count,
    analysisBlob: sha256,
    verdict: z.object({ severity: text, sentence: text }),
    counts: z.record(text, count),
  }),
  'finding.accepted': z.strictObject({ finding: text, because: text, until: maybe }),
  'report.rendered': z.strictObject({ format: text, sha256, position: count }),
  'note.added': z.strictObject({ text }),
} as const;

export type EventType = keyof typeof PAYLOADS;
export type Payload<T extends EventType> = z.infer<(typeof PAYLOADS)[T]>;

/** An act to record. `key` is its identity: the same key twice is one event. */
export type NewEvent = {
  [T in EventType]: { readonly type: T; readonly key: string; readonly payload: Payload<T> };
}[EventType];

/** An event as read: lifted to the current version of its type. */
export type CaseEvent = {
  [T in EventType]: {
    readonly seq: number;
    readonly type: T;
    readonly key: string;
    readonly recordedAt: string;
    readonly payload: Payload<T>;
    readonly hash: string;
  };
}[EventType];
export type EventOf<T extends EventType> = Extract<CaseEvent, { type: T }>;

/** Upcasts: `[n]` lifts version n + 1 to n + 2; the current version is one more than there are upcasts. */
export type Upcasts = Readonly<Partial<Record<EventType, readonly ((payload: unknown) => unknown)[]>>>;
const UPCASTS: Upcasts = {};

export const EVENT_TYPES = Object.keys(PAYLOADS) as EventType[];

export function currentVersion(type: EventType, upcasts: Upcasts = UPCASTS): number {
  return (upcasts[type]?.length ?? 0) + 1;
}

/** Refuses a payload that is not of its type; ours would be a bug, a stored one is damage. */
export function checkPayload(type: EventType, payload: unknown): void {
  const result = PAYLOADS[type].safeParse(payload);
  if (result.success) return;
  const [issue] = result.error.issues;
  throw new TypeError(`${type}: ${issue?.path.join('.') ?? ''} ${issue?.message ?? 'is wrong'}`);
}

/** A stored payload lifted to the current version, one step a version, and checked. */
export function liftPayload(
  seq: number,
  type: string,
  version: number,
  payload: string,
  upcasts: Upcasts = UPCASTS,
): unknown {
  if (!Object.hasOwn(PAYLOADS, type))
    throw new CaseError(
      'newer',
      `event ${seq} is of a type that this netcase does not know (${type}): upgrade netcase`,
    );
  const known = type as EventType;
  const current = currentVersion(known, upcasts);
  if (version > current)
    throw new CaseError(
      'newer',
      `event ${seq} is ${type} version ${version} and this netcase knows version ${current}: upgrade netcase`,
    );
  try {
    let lifted: unknown = JSON.parse(payload);
    for (const step of (upcasts[known] ?? []).slice(version - 1)) lifted = step(lifted);
    checkPayload(known, lifted);
    return lifted;
  } catch (error) {
    throw new CaseError('damaged', `event ${seq} (${type}) is damaged: ${(error as Error).message}`, { cause: error });
  }
}
