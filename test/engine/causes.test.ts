import { expect, it } from 'vitest';
import { rankCauses } from '../../src/engine/causes.ts';
import type { AnalysisFinding } from '../../src/engine/index.ts';

const rules = [
  { id: 'cause', explains: ['symptom'] },
  { id: 'symptom', explains: [] },
];

const finding = (rule: string, key: string, more: Partial<AnalysisFinding> = {}): AnalysisFinding => ({
  id: `${rule}/${key}`,
  group: key,
  key,
  rule,
  severity: 'high',
  confidence: 'proven',
  nodes: ['node-a'],
  message: key,
  cites: [],
  ...more,
});
const explained = (...findings: AnalysisFinding[]): readonly string[] =>
  rankCauses(findings, rules).flatMap((c) => c.explains);

it.each([
  ['10.244.1.1 cannot reach 10.244.2.9', true],
  ['10.244.1.10 cannot reach 10.244.1.1', true],
  ['10.244.1.10 cannot reach 10.244.1.11', false],
  ['110.244.1.1 cannot reach 10.244.1.1.5', false],
  ['10.244.1.1:80 is refused', true],
  ['it went to 10.244.1.1. More end there', true],
])('a cause about 10.244.1.1 explains "%s": %s', (message, yes) => {
  const found = explained(finding('cause', 'c', { about: ['10.244.1.1'] }), finding('symptom', 's', { message }));
  expect(found).toEqual(yes ? ['symptom/s'] : []);
});

it('what its packet passed counts as well', () => {
  const hops = [{ node: 'node-a', at: 'host', place: 'x', action: 'dnat', text: 'to 10.244.1.1:80', cites: [] }];
  const trace = { hops } as unknown as NonNullable<AnalysisFinding['trace']>;
  const symptom = finding('symptom', 's', { message: 'a published port is dead', trace });
  expect(explained(finding('cause', 'c', { about: ['10.244.1.1'] }), symptom)).toEqual(['symptom/s']);
});

it('a cause about nothing in particular explains all on its nodes', () => {
  expect(explained(finding('cause', 'c'), finding('symptom', 's'))).toEqual(['symptom/s']);
  expect(explained(finding('cause', 'c'), finding('symptom', 's', { nodes: ['node-b'] }))).toEqual([]);
});
