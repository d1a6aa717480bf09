import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PARSERS } from '../../src/parsers/index.ts';

/** Words of a line, some left out: usual lines, and ones that only look like them. */
const optional = (...texts: string[]) => fc.option(fc.constantFrom(...texts), { nil: '', freq: 2 });
const line = (...parts: fc.Arbitrary<string>[]) => fc.tuple(...parts).map((words) => words.filter(Boolean).join(' '));

const ip = fc.constantFrom('10.244.1.0', '10.20.1.10', '300.1.1.1', '10.1', 'fd00::1', '0.0.0.0');
const dev = fc.constantFrom('eth0', 'flannel.1', 'dev', 'table', 'self', 'lo');
const mac = fc.constantFrom('62:0f:94:8a:82:33', '62:0F:94:8A:82:33', '62:0f:94:8a:82');
const named = (word: string, value: fc.Arbitrary<string>) => value.map((v) => `${word} ${v}`);
const maybe = (word: string, value: fc.Arbitrary<string>) => fc.option(named(word, value), { nil: '', freq: 2 });

const route = line(
  optional('unicast', 'local', 'broadcast', 'blackhole', 'multicast'),
  fc.oneof(
    fc.constantFrom('default', '10.244.1.0/24', '10.0.0.0/33', '10.0.0.1', 'fd00::/64', '10.0.0.0/255.0.0.0'),
    ip,
  ),
  maybe('via', ip),
  maybe('dev', dev),
  maybe('table', fc.constantFrom('main', 'local', '100', '254')),
  maybe('proto', fc.constantFrom('kernel', '99')),
  maybe('scope', fc.constantFrom('link', 'global')),
  maybe('src', ip),
  maybe('metric', fc.constantFrom('100', '4278198272', '-1', 'x')),
  maybe('mtu', fc.constantFrom('1400', 'lock 1400')),
  optional('onlink', 'linkdown', 'dead linkdown', 'pervasive'),
);
const neighbour = line(
  ip,
  maybe('dev', dev),
  maybe('lladdr', mac),
  optional('ref 3'),
  optional('used 1/2/3probes 0', 'used 1/2/3 probes 6', 'used 7/8/9'),
  optional('STALE', 'REACHABLE', 'PERMANENT', 'FAILED', 'proxy', 'router STALE', 'S'),
);
const entry = line(
  mac,
  maybe('dev', dev),
  maybe('dst', ip),
  maybe('port', fc.constantFrom('4789')),
  maybe('used', fc.constantFrom('1/2', '256/0')),
  maybe('master', dev),
  optional('self'),
  optional('permanent', 'static', 'extern_learn'),
);

/** A second blank changes nothing that iproute2 means, and is no usual line: it is read word by word. */
const spread = (text: string) => text.replace(' ', '  ');

describe('a usual line is read as the others are', () => {
  it.each([
    ['routes4', 'ip.route4', route],
    ['neighbours', 'ip.neigh', neighbour],
    ['fdb', 'bridge.fdb', entry],
  ] as const)('%s', (fact, evidence, arbitrary) => {
    const parser = PARSERS.find((p) => p.fact === fact && p.evidence.includes(evidence as never));
    fc.assert(
      fc.property(fc.array(arbitrary, { minLength: 1, maxLength: 4 }), fc.constantFrom('', ' '), (lines, end) => {
        const read = parser?.parse(lines.map((l) => `${l}${end}\n`).join(''));
        expect(read).toEqual(parser?.parse(lines.map((l) => `${spread(l)}${end}\n`).join('')));
      }),
      { numRuns: 2000 },
    );
  });
});
