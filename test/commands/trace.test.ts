import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Ajv2020 } from 'ajv/dist/2020.js';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openNetCase } from '../../src/cases/net-case.ts';
import { learnElsewhere, reachCase } from '../../src/cases/reach.ts';
import type { TraceJson } from '../../src/core/trace.ts';
import { learnPart, surveyOf } from '../../src/net/index.ts';
import { netcase, root } from '../support/analyse.ts';

const dir = mkdtempSync(join(tmpdir(), 'nc-trace-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const kase = (name: string) => join(dir, `${name}.netcase`);
const CASES = [
  'healthy-vxlan',
  'healthy-docker',
  'healthy-host-gw',
  'healthy-legacy',
  'forward-drops-pod-traffic',
  'egress-masquerade-missing',
  'ip-forward-disabled',
  'interface-forwarding-disabled',
];
beforeAll(async () => {
  for (const name of CASES) {
    const ran = await netcase(['ingest', join(root, 'fixtures/bundles', name), '--case', kase(name), '--quiet']);
    expect(ran.code, ran.stderr).toBe(0);
  }
});

const ajv = new Ajv2020({ strict: true, allowUnionTypes: true, strictRequired: false });
const read = (name: string) => JSON.parse(readFileSync(join(root, 'schema', name), 'utf8'));
const schema = ajv.compile(read('trace.v1.json'));
const reachSchema = ajv.compile(read('reach.v1.json'));

const asked = (name: string, from: string, to: string, ...more: readonly string[]) =>
  netcase(['trace', '--case', kase(name), '--from', from, '--to', to, ...more]);

async function json(
  name: string,
  from: string,
  to: string,
  ...more: readonly string[]
): Promise<{ code: number; trace: TraceJson }> {
  const ran = await asked(name, from, to, '--format', 'json', ...more);
  if (ran.stdout === '') throw new Error(ran.stderr);
  const trace = JSON.parse(ran.stdout) as TraceJson;
  expect(schema(trace), JSON.stringify(schema.errors)).toBe(true);
  return { code: ran.code, trace };
}

describe('netcase trace', () => {
  it('delivers a pod’s packet to a pod of another node, and shows each hop with its line', async () => {
    const { stdout, code } = await asked('healthy-vxlan', '10.244.1.10', '10.244.2.10:80');
    expect(code).toBe(0);
    const lines = stdout.split('\n');
    expect(lines[0]).toMatch(/^DELIVERED: 10\.244\.1\.10 -> 10\.244\.2\.10:80 tcp/);
    expect(lines[1]).toBe('packet: 10.244.1.10 -> 10.244.2.10 port 80, tcp');
    expect(stdout).toMatch(
      /node-a .*filter\/FORWARD > FLANNEL-FWD +accept +-A FLANNEL-FWD .* \[host\/fw\/iptables-save\.txt:8\]/,
    );
    expect(stdout).toMatch(/vxlan flannel\.1 +encapsulate/);
    expect(stdout).toContain('  arrives at pod 10.244.2.10 on node-b as 10.244.1.10 -> 10.244.2.10 port 80');
    expect(stdout).toMatch(/\nreply DELIVERED: /);
    expect(stdout).not.toContain('>1');
  });

  it('marks the hop that ends the packet, names its node, and exits 1', async () => {
    const { stdout, code } = await asked('forward-drops-pod-traffic', '10.244.1.10', '10.244.2.10:80');
    expect(code).toBe(1);
    expect(stdout.split('\n')[0]).toBe(
      'REJECTED on node-b: filter/FORWARD: -A FORWARD -j REJECT --reject-with icmp-host-prohibited',
    );
    const marked = stdout.split('\n').filter((l) => l.startsWith('>'));
    expect(marked).toHaveLength(1);
    expect(marked[0]).toMatch(
      /node-b +filter\/FORWARD +REJECT +-A FORWARD -j REJECT .*\[host\/fw\/iptables-save\.txt:7\]$/,
    );
    expect(stdout).not.toContain('reply');
  });

  it('cites lines that stand where it says', async () => {
    const { code, trace } = await json('forward-drops-pod-traffic', '10.244.1.10', '10.244.2.10:80');
    expect(code).toBe(1);
    const cite = trace.hops.at(-1)?.cites[0];
    expect(cite).toMatchObject({
      node: 'node-b',
      evidence: 'fw.iptables-save',
      path: 'host/fw/iptables-save.txt',
      line: 7,
      endLine: 7,
    });
    expect(cite).toHaveProperty('text', expect.stringContaining('-A FORWARD -j REJECT'));
    for (const hop of trace.hops)
      for (const c of hop.cites) expect('line' in c ? c.text : c, `${hop.place}`).not.toBe('');
  });

  it('is unknown with the commands that would tell, and exits 4', async () => {
    const { stdout, code } = await asked('egress-masquerade-missing', '10.244.1.10', '203.0.113.7:443');
    expect(code).toBe(4);
    expect(stdout).toMatch(/^UNKNOWN: /);
    expect(stdout).toContain('What would decide it:');
  });

  it('is 2 for two addresses between which no packet goes', async () => {
    const file = kase('healthy-vxlan');
    const { code, stderr } = await netcase(['trace', '--case', file, '--from', '10.244.1.10', '--to', 'fd00::1']);
    expect(code).toBe(2);
    expect(stderr).toContain(
      'no packet goes from 10.244.1.10 to fd00::1: one is an IPv4 address and one an IPv6 address',
    );
  });

  it('takes a node, a container and a published port for a place', async () => {
    expect((await json('healthy-vxlan', 'node-a', '10.244.2.10', '--proto', 'icmp')).trace.verdict).toBe('delivered');
    expect((await json('healthy-vxlan', 'node-a/10.244.1.10', 'node-b', '--proto', 'icmp')).trace).toMatchObject({
      verdict: 'delivered',
      arrived: { node: 'node-b', at: 'host' },
    });
    expect((await json('healthy-host-gw', '10.244.1.10', '10.244.2.10:80')).trace.verdict).toBe('delivered');
    expect((await json('healthy-legacy', '10.244.1.10', '10.244.2.10:80')).trace.verdict).toBe('delivered');
  });

  it.each([
    ['no such node', ['node-z', '10.244.2.10'], 'there is no node node-z; the case has node-a, node-b'],
    ['no such container', ['node-a/web', '10.244.2.10'], 'node-a has no container web'],
    ['no target', ['node-a', 'nowhere'], 'nowhere is no address'],
    [
      'a change that is not understood',
      ['node-a', '10.244.2.10', '--if', 'reboot @node-a'],
      'reboot is none of iptables',
    ],
    [
      'a change without a place',
      ['node-a', '10.244.2.10', '--if', 'iptables -F'],
      'put @NODE behind it (node-a, node-b',
    ],
    [
      'a change that the kernel refuses',
      ['node-a', '10.244.2.10', '--if', 'ip route del 1.2.3.0/24 @node-a'],
      'there is no such route to 1.2.3.0/24',
    ],
  ])('%s is 2', async (_, [from = '', to = '', ...more], because) => {
    const ran = await asked('forward-drops-pod-traffic', from, to, ...more);
    expect([ran.code, ran.stdout]).toEqual([2, '']);
    expect(ran.stderr).toContain(because);
  });

  it('writes to a file', async () => {
    const file = join(dir, 'trace.json');
    const ran = await asked('healthy-vxlan', '10.244.1.10', '10.244.2.10', '--format', 'json', '-o', file);
    expect([ran.code, ran.stdout, ran.stderr]).toEqual([0, '', `wrote ${file}\n`]);
    expect(schema(JSON.parse(readFileSync(file, 'utf8')))).toBe(true);
  });

  it('gives the same bytes from a case without digests as from one with them, and leaves them behind', async () => {
    const file = join(dir, 'bare.netcase');
    cpSync(kase('healthy-vxlan'), file);
    const count = () => {
      const db = new Database(file, { readonly: true });
      try {
        return db.prepare("select count(*) from fact_cache where kind = 'net-digest'").pluck().get() as number;
      } finally {
        db.close();
      }
    };
    const db = new Database(file);
    db.exec('delete from fact_cache');
    db.close();
    expect(count()).toBe(0);
    const args = ['trace', '--case', file, '--from', '10.244.1.10', '--to', '10.244.2.10:80'];
    const first = await netcase(args);
    expect(count()).toBe(3);
    expect((await netcase(args)).stdout).toBe(first.stdout);
    expect(first.code).toBe(0);
  });
});

describe('what a trace loads', () => {
  it('is neither the report’s templates nor the table library', async () => {
    const coverage = join(dir, 'loaded');
    const args = ['trace', '--case', kase('healthy-vxlan'), '--from', '10.244.1.10', '--to', '10.244.2.10'];
    const { code } = await netcase(args, { env: { NODE_V8_COVERAGE: coverage } });
    expect(code).toBe(0);
    const program = join(root, 'dist/netcase.cjs');
    const text = readFileSync(program, 'utf8');
    const ranges = readdirSync(coverage).flatMap((name) => {
      const { result } = JSON.parse(readFileSync(join(coverage, name), 'utf8')) as { result: CoveredScript[] };
      const ours = result.find(({ url }) => url === pathToFileURL(program).href);
      return ours?.functions.flatMap((f) => f.ranges) ?? [];
    });
    /** How often the code around a word ran. */
    const ran = (word: string) => {
      const at = text.indexOf(word);
      const around = ranges.filter((r) => r.startOffset <= at && at < r.endOffset);
      return around.sort((a, b) => a.endOffset - a.startOffset - (b.endOffset - b.startOffset))[0]?.count;
    };
    expect([ran('SqliteQueryCompiler=class'), ran('incident/incident.njk')]).toEqual([0, 0]);
    expect(ran('return withNetCase(')).toBe(1);
  });
});

interface CoveredScript {
  readonly url: string;
  readonly functions: readonly {
    readonly ranges: readonly { readonly startOffset: number; readonly endOffset: number; readonly count: number }[];
  }[];
}

describe('netcase trace --if', () => {
  it('delivers after the remediation of a FORWARD that drops, and says by which command', async () => {
    const change = 'iptables -I FORWARD -d 10.244.0.0/16 -j ACCEPT; iptables -I FORWARD -s 10.244.0.0/16 -j ACCEPT';
    const { code, trace } = await json(
      'forward-drops-pod-traffic',
      '10.244.1.10',
      '10.244.2.10:80',
      '--if',
      `${change} @node-b`,
    );
    expect([code, trace.verdict, trace.reply?.verdict]).toEqual([0, 'delivered', 'delivered']);
    expect(trace.assuming).toEqual(change.split('; ').map((command) => ({ node: 'node-b', command })));
    const cites = [...trace.hops, ...(trace.reply?.hops ?? [])].flatMap((h) => h.cites).filter((c) => 'whatIf' in c);
    expect(cites[0]).toEqual({
      node: 'node-b',
      evidence: 'fw.iptables-save',
      path: 'host/fw/iptables-save.txt',
      whatIf: 'iptables -I FORWARD -s 10.244.0.0/16 -j ACCEPT',
    });
  });

  it('on the wrong node changes nothing', async () => {
    const { code, trace } = await json(
      'forward-drops-pod-traffic',
      '10.244.1.10',
      '10.244.2.10:80',
      '--if',
      'iptables -I FORWARD -j ACCEPT @node-a',
    );
    expect([code, trace.verdict]).toEqual([1, 'rejected']);
  });

  it('delivers after ip_forward and after one device’s forwarding', async () => {
    const before = await json('ip-forward-disabled', '10.244.1.10', '10.244.2.10:80');
    expect([before.code, before.trace.verdict]).toEqual([1, 'dropped']);
    const after = await json(
      'ip-forward-disabled',
      '10.244.1.10',
      '10.244.2.10:80',
      '--if',
      'sysctl -w net.ipv4.ip_forward=1 @node-a',
    );
    expect([after.code, after.trace.verdict]).toEqual([0, 'delivered']);
    const one = await json('interface-forwarding-disabled', '10.244.1.10', '10.244.2.10:80');
    expect(one.trace.verdict).toBe('dropped');
    const mended = await json(
      'interface-forwarding-disabled',
      '10.244.1.10',
      '10.244.2.10:80',
      '--if',
      'sysctl -w net.ipv4.conf.flannel/1.forwarding=1 @node-b',
    );
    expect([mended.code, mended.trace.verdict]).toEqual([0, 'delivered']);
  });

  it('translates after the remediation of a missing masquerade', async () => {
    const { trace } = await json(
      'egress-masquerade-missing',
      '10.244.1.10',
      '203.0.113.7:443',
      '--if',
      'iptables -t nat -A POSTROUTING -s 10.244.1.0/24 ! -o cni0 -j MASQUERADE @node-a',
    );
    expect(trace).toMatchObject({ verdict: 'delivered', arrived: { node: 'outside', src: '192.168.50.11' } });
  });

  it('breaks what worked', async () => {
    const broken = async (change: string) => {
      const { trace } = await json('healthy-vxlan', '10.244.1.10', '10.244.2.10:80', '--if', `${change} @node-b`);
      return trace.verdict === 'delivered' ? `reply ${trace.reply?.verdict}` : trace.verdict;
    };
    expect(await broken('iptables -I INPUT -p udp --dport 8472 -j DROP')).toBe('dropped');
    expect(await broken('ip link set flannel.1 down')).not.toBe('reply delivered');
    expect(await broken('ip route replace blackhole 10.244.1.0/24')).toBe('reply dropped');
    // without it the default route leads to a router that was not collected
    expect(await broken('ip route del 10.244.2.0/24')).toBe('unknown');
    expect(await broken('bridge fdb del 0e:00:00:00:00:01 dev flannel.1')).toBe('reply dropped');
  });
});

describe('netcase reach', () => {
  const reach = (name: string, ...more: readonly string[]) => netcase(['reach', '--case', kase(name), ...more]);

  it('folds the pairs of a healthy cluster into one group', async () => {
    const ran = await reach('healthy-vxlan');
    expect(ran.code).toBe(0);
    expect(ran.stdout).toMatch(/^6 pairs of 3 nodes: 6 delivered\n\nDELIVERED, 6 pairs, one of them: /);
    expect(ran.stdout).toContain('  between any two of node-a, node-b, node-c\n');
  });

  it('shows what breaks first, with its line and the command that shows the path', async () => {
    const ran = await reach('forward-drops-pod-traffic');
    expect(ran.code).toBe(1);
    expect(ran.stdout).toMatch(/^2 pairs of 2 nodes: 2 rejected\n/);
    expect(ran.stdout).toContain(
      '-A FORWARD -j REJECT --reject-with icmp-host-prohibited  [node-b host/fw/iptables-save.txt:7]',
    );
    expect(ran.stdout).toContain('hop by hop: netcase trace --from 10.244.');
  });

  it('assumes changes', async () => {
    const ran = await reach('forward-drops-pod-traffic', '--if', 'iptables -D FORWARD 1 @node-b');
    expect([ran.code, ran.stdout.split('\n').slice(0, 2)]).toEqual([
      0,
      ['2 pairs of 2 nodes: 2 delivered', 'assuming on node-b: iptables -D FORWARD 1'],
    ]);
  });

  it('is one JSON document of its schema', async () => {
    for (const name of CASES) {
      const ran = await reach(name, '--format', 'json');
      const document = JSON.parse(ran.stdout);
      expect(reachSchema(document), `${name}: ${JSON.stringify(reachSchema.errors)}`).toBe(true);
      for (const group of document.groups) expect(schema(group.example), JSON.stringify(schema.errors)).toBe(true);
    }
  });

  it('says the same on two threads, also with changes', async () => {
    const without = async (name: string, changes: readonly string[], worthAThread?: number) => {
      const { followed: _, ...said } = await reachCase(kase(name), changes, worthAThread);
      return said;
    };
    for (const name of ['healthy-vxlan', 'healthy-host-gw', 'forward-drops-pod-traffic', 'ip-forward-disabled'])
      expect(await without(name, [], 2), name).toEqual(await without(name, []));
    const change = ['iptables -D FORWARD 1 @node-b'];
    const { net, close } = openNetCase(kase('healthy-vxlan'), []);
    const { pods } = surveyOf(net.cluster);
    const own = learnPart(net.cluster, pods, 1, 3);
    close();
    const task = { caseFile: kase('healthy-vxlan'), changes: [], pods, from: 1, to: 3 };
    expect(await learnElsewhere(task)).toEqual(own);
    const changed = await without('forward-drops-pod-traffic', change, 2);
    expect(changed).toEqual(await without('forward-drops-pod-traffic', change));
    expect(changed.groups.map((g) => g.verdict)).toEqual(['delivered']);
  });

  it('is 4 where there is no pair', async () => {
    const ran = await reach('healthy-docker');
    expect(ran.code).toBe(4);
    expect(ran.stdout).toMatch(/^No pair of nodes could be followed/);
  });
});

describe('netcase why', () => {
  const file = join(dir, 'why.netcase');
  beforeAll(async () => {
    await netcase([
      'analyze',
      join(root, 'fixtures/bundles/forward-drops-pod-traffic'),
      '--case',
      file,
      '--format',
      'text',
      '--quiet',
    ]);
  });
  const why = async (rule: string, node: string) =>
    (await netcase(['why', rule, '--node', node, '--case', file])).stdout;

  it('shows a fault with its proof and what was read', async () => {
    const text = await why('forward-drops-pod-traffic', 'node-b');
    expect(text).toMatch(/^forward-drops-pod-traffic on node-b: FOUND\n/);
    expect(text).toContain(
      '    node-b host/fw/iptables-save.txt:7  [0:0] -A FORWARD -j REJECT --reject-with icmp-host-prohibited',
    );
    expect(text).toMatch(/ {4}one of {2}iptables +host\/fw\/iptables-save\.txt\n/);
    expect(text).toMatch(/ {4}wants {3}dockerNetworks +- skipped: /);
  });

  it('shows the proof of a pass and the reason of what does not apply', async () => {
    const pass = await why('ip-forward-disabled', 'node-a');
    expect(pass).toMatch(/^ip-forward-disabled on node-a: pass\n/);
    expect(pass).toContain('host/sys/sysctl.txt:1  net/ipv4/ip_forward:1');
    const none = await why('docker-api-exposed', 'node-a');
    expect(none).toContain('does not apply\n');
    expect(none).toContain('  because dockerd does not run on this node');
  });

  it('comes from an analysis whose traces are of the schema too', async () => {
    const ran = await netcase(['report', '--case', file, '--format', 'json']);
    const { findings } = JSON.parse(ran.stdout) as { findings: readonly { trace: unknown }[] };
    const traces = findings.flatMap((f) => (f.trace === null ? [] : [f.trace]));
    expect(traces.length).toBeGreaterThan(0);
    for (const trace of traces) expect(schema(trace), JSON.stringify(schema.errors)).toBe(true);
  });

  it('is 2 for a rule or node that is none', async () => {
    for (const args of [
      ['nonsense', 'node-a'],
      ['ip-forward-disabled', 'node-z'],
    ] as const)
      expect((await netcase(['why', args[0], '--node', args[1], '--case', file])).code).toBe(2);
  });
});
