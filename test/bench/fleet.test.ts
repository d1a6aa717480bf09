import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { RULES } from '../../rules/index.ts';
import { type AnalysisJson, netcase, root } from '../support/analyse.ts';

const dir = mkdtempSync(join(tmpdir(), 'nc-fleet-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

interface Truth {
  readonly nodes: number;
  readonly rules: number;
  readonly faults: readonly { readonly node: string; readonly rule: string }[];
}

function fleet(name: string, ...args: string[]): { out: string; truth: Truth } {
  const out = join(dir, name);
  execFileSync(process.execPath, [join(root, 'bench/fleet.mjs'), '--preset', 'tiny', '--out', out, ...args]);
  return { out, truth: JSON.parse(readFileSync(join(out, 'truth.json'), 'utf8')) };
}

async function analyse(out: string): Promise<AnalysisJson> {
  const kase = `${out}.netcase`;
  const ran = await netcase(['analyze', out, '--case', kase, '--format', 'json', '-o', '-', '-q']);
  expect(ran.stderr).toBe('');
  return JSON.parse(ran.stdout) as AnalysisJson;
}

/** Rule and node of everything that an engineer would be called for. */
const serious = ({ findings }: Pick<AnalysisJson, 'findings'>) =>
  findings
    .filter((f) => ['critical', 'high', 'medium'].includes(f.severity))
    .map((f) => `${f.rule} ${f.nodes[0]}`)
    .sort();

describe('generated fleets', () => {
  it('give the same log on any number of threads, whatever is among them', async () => {
    const { out } = fleet('threads', '--nodes', '8', '--faults');
    const [first = '', second = ''] = readdirSync(out).filter((f) => f.endsWith('.tar.gz'));
    writeFileSync(join(out, 'cut.tar.gz'), readFileSync(join(out, first)).subarray(0, 20_000));
    writeFileSync(join(out, 'plain.tar'), gunzipSync(readFileSync(join(out, second))));
    writeFileSync(join(out, 'none.tar.gz'), 'no archive');
    const env = { SOURCE_DATE_EPOCH: '1764100000' };
    const logs: string[] = [];
    for (const jobs of ['1', '2', '3', '4']) {
      const kase = join(dir, `threads-${jobs}.netcase`);
      const ran = await netcase(['analyze', out, '--case', kase, '--format', 'json', '-o', '-', '-q', '--jobs', jobs], {
        env,
      });
      expect(ran.stderr).toContain('none.tar.gz');
      logs.push(ran.stdout + (await netcase(['history', '--case', kase, '--json'])).stdout);
    }
    expect(new Set(logs).size).toBe(1);
  });

  it.each([
    ['legacy', ['--counters']],
    ['nft', ['--backend', 'nft', '--largecluster']],
    ['services-without-endpoints', ['--nodes', '4', '--services', '30', '--idle', '0.1']],
    ['folders', ['--dir']],
  ])('healthy: %s gives no finding, no problem and no rule that failed', async (name, args) => {
    const { out, truth } = fleet(name, ...args);
    const analysis = await analyse(out);
    expect(analysis.nodes).toHaveLength(truth.nodes);
    expect(analysis.problems).toEqual([]);
    expect(serious(analysis)).toEqual([]);
    for (const counts of Object.values(analysis.verdicts)) expect(counts).toMatchObject({ error: 0 });
  });

  // of 24 nodes not every pair is followed, but a ring and a star
  it.each(['16', '24'])('with faults in %s nodes: exactly these are found', async (nodes) => {
    const { out, truth } = fleet(`faults-${nodes}`, '--nodes', nodes, '--services', '30', '--faults');
    const analysis = await analyse(out);
    const known = new Set(RULES.map((r) => r.id));
    const expected = truth.faults.filter((f) => known.has(f.rule)).map((f) => `${f.rule} ${f.node}`);
    expect(expected.length).toBeGreaterThanOrEqual(6);
    // what FORWARD drops it drops between two pods of the node as well, by the same line
    const symptoms = new Set(analysis.causes.flatMap((c) => c.explains));
    const told = analysis.findings.filter(
      (f) => !(f.rule === 'bridge-netfilter-drops-same-bridge' && symptoms.has(f.id)),
    );
    expect(serious({ findings: told }).filter((f) => !f.startsWith('trace-'))).toEqual(expected.sort());
    // packets that were followed show the same faults as symptoms: each is lost at, or between, nodes of which one has a fault
    const faulty = new Set(truth.faults.map((f) => f.node));
    const lost = analysis.findings.filter((x) => x.rule.startsWith('trace-'));
    expect(lost.map((f) => f.rule)).toContain('trace-pod-to-pod');
    for (const f of lost) expect(f.nodes.some((n) => faulty.has(n))).toBe(true);
  });

  it('every node of a healthy ring of 24 is proved to reach others', async () => {
    const { out } = fleet('ring', '--nodes', '24');
    const { pass, notApplicable: without } = (await analyse(out)).verdicts['trace-pod-to-pod'] ?? {};
    // some nodes have no pod
    expect(pass).toBeGreaterThan(20);
    expect((pass ?? 0) + (without ?? 0)).toBe(24);
  });

  it('unrelated clusters stay apart', async () => {
    const { out, truth } = fleet('clusters', '--clusters', '3', '--nodes', '1');
    expect(truth.nodes).toBe(3);
    expect(serious(await analyse(out))).toEqual([]);
  });

  it('a node is the same whichever range is asked for, and on any number of threads', () => {
    const all = fleet('all', '--nodes', '9', '--jobs', '2').out;
    const part = fleet('part', '--nodes', '9', '--range', '2-8/3', '--jobs', '1').out;
    const names = readdirSync(part).filter((n) => n.endsWith('.tar.gz'));
    expect(names).toHaveLength(3);
    for (const n of names) expect(readFileSync(join(part, n)).equals(readFileSync(join(all, n)))).toBe(true);
  });

  it('wrong arguments are said with the usage and exit 2', () => {
    for (const args of [[], ['--out', dir, '--nodes', '0'], ['--out', dir, '--range', '15-19'], ['--sevices', '3']]) {
      const run = () => execFileSync(process.execPath, [join(root, 'bench/fleet.mjs'), ...args], { stdio: 'pipe' });
      expect(run).toThrowError(/--preset tiny/);
      try {
        run();
      } catch (error) {
        expect((error as { status: number }).status).toBe(2);
      }
    }
  });
});
