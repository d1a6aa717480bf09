import { describe, expect, test } from 'vitest';
import { counted } from '../../src/derive/kernel-log.ts';
import { parse, parserOf } from './firewall-docker-samples.ts';

/** Linux 6.18, conntrack-tools 1.4.7. */
const CONNTRACK = `entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart
00000010  00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 0000000a 00000000 00000000  00000000 00000000 00000000 00000000
00000010  00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000010 00000000 00000000  00000000 00000000 00000000 00000000
cpu=0   \tfound=0 invalid=0 insert=0 insert_failed=0 drop=10 early_drop=0 error=0 search_restart=0 clash_resolve=0 chaintoolong=3 
`;

describe('counters of the kernel', () => {
  test('/proc/net/stat and conntrack -S in one file', () => {
    const value = parse('conntrackCounters', CONNTRACK);
    expect(value.rows.map((r) => [r.line, r.form, r.values['drop']])).toEqual([
      [2, 'proc', 10],
      [3, 'proc', 16],
      [4, 'tool', 10],
    ]);
    // the same processors are not counted twice, and the line with most of it is shown
    expect(counted(value, 'drop')).toEqual({ total: 26, line: 3 });
    expect(counted(value, 'chaintoolong')).toEqual({ total: 3, line: 4 });
    expect(counted(value, 'nothing')).toBeNull();
  });

  test('the names alone: no processor', () => {
    expect(parse('neighbourCounters', 'entries  allocs   destroys\n').rows).toEqual([]);
  });

  test('something else', () => {
    expect(parserOf('neighbourCounters').parse('cat: can not open\n')).toMatchObject({ ok: false });
    expect(parse('conntrackCounters', `${CONNTRACK}conntrack v1.4.7\n00000010 0000\n`, [5, 6]).rows).toHaveLength(3);
  });
});
