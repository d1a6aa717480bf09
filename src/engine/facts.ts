import type { EvidenceId, EvidenceRecord } from '../core/evidence.ts';
import { hasContent, isClosedWorld } from '../core/evidence.ts';
import type { Fact, FactKind, FactTypes, ManyKind, MissingFact } from '../facts/index.ts';
import { FACT_SOURCES } from '../facts/index.ts';
import type { Parsed, Parser, Skipped } from '../facts/parser.ts';
import { PARSERS } from '../parsers/index.ts';
import { unpasted } from '../parsers/pasted.ts';
import type { FactSource, NodeInfo } from '../rule/index.ts';
import { isPart } from './part.ts';

/** One node's evidence: the records and the bytes behind them. */
export interface NodeEvidence {
  readonly info: NodeInfo;
  /** Decoded text of a file of the bundle; null when its bytes are not at hand (purged, altered, never there). */
  textAt(path: string): string | null;
}

const REFUSED = { ok: false, why: 'it holds the message of a shell, not the output' } as const;
const SMALL = 8 * 1024;
const TEXTS_OF_A_PARSER = 8;

type Parse<K extends FactKind> = Parser<K>['parse'];

// maps whose values are of the kind that is their key, which the type of Map cannot say
interface ParsersByKind {
  get<K extends FactKind>(kind: K): Map<EvidenceId, Parse<K>> | undefined;
  set<K extends FactKind>(kind: K, parsers: Map<EvidenceId, Parse<K>>): void;
}
interface OneByKind {
  get<K extends FactKind>(kind: K): Fact<K> | MissingFact<K> | undefined;
  set<K extends FactKind>(kind: K, fact: Fact<K> | MissingFact<K>): void;
}
interface ListByKind {
  get<K extends ManyKind>(kind: K): readonly Fact<K>[] | undefined;
  set<K extends ManyKind>(kind: K, facts: readonly Fact<K>[]): void;
}
interface InstancesByKind {
  get<K extends ManyKind>(kind: K): Map<string, Fact<K> | MissingFact<K>> | undefined;
  set<K extends ManyKind>(kind: K, instances: Map<string, Fact<K> | MissingFact<K>>): void;
}
interface ReadByKind {
  get<K extends FactKind>(kind: K): Map<string, Parsed<FactTypes[K]>> | undefined;
  set<K extends FactKind>(kind: K, read: Map<string, Parsed<FactTypes[K]>>): void;
}

const PARSE: ParsersByKind = new Map();
for (const parser of PARSERS) register(parser);

function register<K extends FactKind>(parser: Parser<K>): void {
  const parse = remembering(parser);
  const known = PARSE.get(parser.fact) ?? new Map<EvidenceId, Parse<K>>();
  for (const id of parser.evidence) known.set(id, parse);
  PARSE.set(parser.fact, known);
}

/** Configuration is the same on every node of a fleet: small files that were read last are not parsed again. */
function remembering<K extends FactKind>(parser: Parser<K>): Parse<K> {
  const before = new Map<string, Parsed<FactTypes[K]>>();
  return (text) => {
    if (text.length > SMALL) return parser.parse(text);
    const known = before.get(text);
    if (known !== undefined) return known;
    const parsed = parser.parse(text);
    const [oldest] = before.keys();
    if (before.size >= TEXTS_OF_A_PARSER && oldest !== undefined) before.delete(oldest);
    before.set(text, parsed);
    return parsed;
  };
}

/** What one evidence file gave: for coverage and for the lines that no parser understood. */
export interface ParseNote {
  readonly evidence: string;
  readonly path: string;
  readonly why: string | null;
  readonly skipped: readonly Skipped[];
}

/** Reads facts of one node on demand and keeps them: rules ask, nothing is parsed that nobody asks for. */
export class NodeFacts implements FactSource {
  readonly node: string;
  readonly notes = new Map<string, ParseNote>();
  private readonly evidence: NodeEvidence;
  private readonly records = new Map<string, EvidenceRecord[]>();
  /** A node may have hundreds of namespaces. */
  private readonly placed = new Map<EvidenceId, Map<string, EvidenceRecord>>();
  private readonly one: OneByKind = new Map();
  private readonly many: ListByKind = new Map();
  private readonly single: InstancesByKind = new Map();
  private readonly readPaths: ReadByKind = new Map();

  constructor(evidence: NodeEvidence) {
    this.node = evidence.info.id;
    this.evidence = evidence;
    for (const record of evidence.info.evidence) {
      const list = this.records.get(record.id);
      if (list === undefined) this.records.set(record.id, [record]);
      else list.push(record);
    }
  }

  get<K extends FactKind>(kind: K): Fact<K> | MissingFact<K> {
    const known = this.one.get(kind);
    if (known !== undefined) return known;
    const found = this.read(kind, (id) => this.records.get(id)?.[0]);
    this.one.set(kind, found);
    return found;
  }

  all<K extends ManyKind>(kind: K): readonly Fact<K>[] {
    const known = this.many.get(kind);
    if (known !== undefined) return known;
    const list = [...new Set(this.recorded(kind).map((r) => r.instance ?? ''))].flatMap((i) => this.at(kind, i) ?? []);
    this.many.set(kind, list);
    return list;
  }

  at<K extends ManyKind>(kind: K, instance: string): Fact<K> | undefined {
    let instances = this.single.get(kind);
    if (instances === undefined) {
      instances = new Map();
      this.single.set(kind, instances);
    }
    let fact = instances.get(instance);
    if (fact === undefined) {
      fact = this.read(kind, (id) => this.recordOf(id, instance));
      instances.set(instance, fact);
    }
    return fact.missing ? undefined : fact;
  }

  private recordOf(id: EvidenceId, instance: string): EvidenceRecord | undefined {
    let known = this.placed.get(id);
    if (known === undefined) {
      known = new Map();
      for (const r of this.records.get(id) ?? []) if (!known.has(r.instance ?? '')) known.set(r.instance ?? '', r);
      this.placed.set(id, known);
    }
    return known.get(instance);
  }

  instances(kind: ManyKind): readonly string[] {
    const content = this.recorded(kind).filter((r) => hasContent(r.status));
    return [...new Set(content.flatMap((r) => r.instance ?? []))];
  }

  private recorded(kind: ManyKind): readonly EvidenceRecord[] {
    return FACT_SOURCES[kind].flatMap((id) => this.records.get(id) ?? []);
  }

  /** The first source that is whole wins; else the first that could be read at all, open-world. */
  private read<K extends FactKind>(
    kind: K,
    recordOf: (id: EvidenceId) => EvidenceRecord | undefined,
  ): Fact<K> | MissingFact<K> {
    let partial: Fact<K> | undefined;
    let because: string | undefined;
    let lookedFor = true;
    for (const id of FACT_SOURCES[kind]) {
      const record = recordOf(id);
      if (record === undefined) {
        because ??= 'not collected';
        lookedFor = false;
        continue;
      }
      const fact = this.parse(kind, id, record);
      if (typeof fact === 'string') {
        because ??= fact;
        lookedFor &&= looked(record);
        continue;
      }
      if (fact.closed) return fact;
      partial ??= fact;
    }
    return (
      partial ?? {
        missing: true,
        kind,
        node: this.node,
        evidence: FACT_SOURCES[kind],
        because: because ?? 'not collected',
        lookedFor,
      }
    );
  }

  private parse<K extends FactKind>(kind: K, id: EvidenceId, record: EvidenceRecord): Fact<K> | string {
    const parsed = this.readOnce(kind, id, record);
    if (typeof parsed === 'string') return parsed;
    if (!parsed.ok) return `could not be read: ${parsed.why}`;
    const lacks = this.lacks(kind, record, parsed);
    return {
      missing: false,
      kind,
      node: this.node,
      evidence: id,
      path: record.path,
      ...(record.instance === undefined ? {} : { instance: record.instance }),
      closed: lacks === null,
      ...(lacks === null ? {} : { lacks }),
      value: parsed.value,
    };
  }

  /** What may be missing of a list: see Fact.lacks; null: nothing. */
  private lacks<K extends FactKind>(
    kind: K,
    { status }: EvidenceRecord,
    { value, skipped }: { readonly value: FactTypes[K]; readonly skipped: readonly Skipped[] },
  ): 'end' | 'lines' | null {
    // a line that was not understood may be the very line whose absence a rule would cite
    if (skipped.length > 0 || (this.byHand && isPart(kind, value, (other) => this.seen(other)))) return 'lines';
    return isClosedWorld(status) && this.evidence.info.complete ? null : 'end';
  }

  private get byHand(): boolean {
    return this.evidence.info.format === 'loose-files';
  }

  /** A kind by the first source that can be read, whole or not. */
  private seen<K extends FactKind>(kind: K): FactTypes[K] | undefined {
    for (const id of FACT_SOURCES[kind]) {
      const record = this.records.get(id)?.[0];
      const parsed = record === undefined ? undefined : this.readOnce(kind, id, record);
      if (typeof parsed === 'object' && parsed.ok) return parsed.value;
    }
    return undefined;
  }

  private readOnce<K extends FactKind>(kind: K, id: EvidenceId, record: EvidenceRecord): Parsed<FactTypes[K]> | string {
    const known = this.readPaths.get(kind)?.get(record.path);
    if (known !== undefined) return known;
    if (!hasContent(record.status)) return statusText(record);
    const parse = PARSE.get(kind)?.get(id);
    if (parse === undefined) return `no parser reads ${id} as ${kind}`;
    const text = this.evidence.textAt(record.path);
    if (text === null) return `${statusText(record)}, but its bytes are not in the case`;
    const own = this.byHand ? unpasted(text) : text;
    const parsed = own === null ? REFUSED : parse(own);
    const why = parsed.ok ? null : parsed.why;
    const skipped = parsed.ok ? parsed.skipped : [];
    if (why !== null || skipped.length > 0)
      this.notes.set(`${kind} ${record.path}`, { evidence: id, path: record.path, why, skipped });
    if (this.byHand) this.readPaths.set(kind, (this.readPaths.get(kind) ?? new Map()).set(record.path, parsed));
    return parsed;
  }
}

/** The collector looked and found nothing: a guard or an absent file. A missing tool or a deadline proves nothing. */
function looked(record: EvidenceRecord): boolean {
  if (record.status === 'absent') return true;
  return record.status === 'skipped' && !/deadline|quick|interrupt/i.test(record.reason ?? '');
}

function statusText(record: EvidenceRecord): string {
  return record.reason === undefined ? record.status : `${record.status}: ${record.reason}`;
}
