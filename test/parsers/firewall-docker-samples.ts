import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { EvidenceId } from '../../src/core/evidence.ts';
import type { FactKind, FactTypes } from '../../src/facts/index.ts';
import type { Parser } from '../../src/facts/parser.ts';
import { PARSERS } from '../../src/parsers/index.ts';

const root = join(import.meta.dirname, '../../fixtures/evidence');

/** A real output, as ORIGINS-firewall-docker.md lists it. */
export function sample(evidence: EvidenceId, name: string): string {
  return readFileSync(join(root, evidence, `${name}.txt`), 'utf8');
}

export function samplesOf(evidence: EvidenceId): string[] {
  try {
    return readdirSync(join(root, evidence)).map((name) => readFileSync(join(root, evidence, name), 'utf8'));
  } catch {
    return [];
  }
}

export function parserOf<K extends FactKind>(fact: K): Parser<K> {
  const parser = PARSERS.find((p) => p.fact === fact);
  if (parser === undefined) throw new Error(`no parser of ${fact}`);
  return parser as unknown as Parser<K>;
}

/** The value of a text that must be readable whole, or with the skipped lines given. */
export function parse<K extends FactKind>(fact: K, text: string, skipped: readonly number[] = []): FactTypes[K] {
  const parsed = parserOf(fact).parse(text);
  if (!parsed.ok) throw new Error(`${fact}: ${parsed.why}`);
  expect(parsed.skipped.map((s) => s.line)).toEqual(skipped);
  return parsed.value;
}

export function lineOf(text: string, line: number): string {
  return text.split('\n')[line - 1]!.trim();
}
