import type { EvidenceId } from '../core/evidence.ts';
import type { FactKind, FactTypes } from './index.ts';

/** A line the parser could not place in its value. Nothing is dropped silently: every line is in the value or here. */
export interface Skipped {
  readonly line: number;
  readonly why: string;
}

export type Parsed<T> =
  | { readonly ok: true; readonly value: T; readonly skipped: readonly Skipped[] }
  | { readonly ok: false; readonly why: string };

/**
 * Text of one evidence file -> one fact. Pure; never throws, whatever the text; linear in its length; lines count from 1.
 * Several evidence kinds with the same format share one parser (`evidence` lists them). A change of meaning raises `version`.
 */
export interface Parser<K extends FactKind> {
  readonly fact: K;
  readonly evidence: readonly EvidenceId[];
  readonly version: number;
  parse(text: string): Parsed<FactTypes[K]>;
}

export type AnyParser = { [K in FactKind]: Parser<K> }[FactKind];

/** Types a parser without widening its fact kind. */
export function defineParser<K extends FactKind>(parser: Parser<K>): Parser<K> {
  return parser;
}
