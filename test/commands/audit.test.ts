import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AuditJson, AuditUnit } from '../../src/report/audit.ts';
import { netcase, root } from '../support/analyse.ts';

const dir = mkdtempSync(join(tmpdir(), 'nc-audit-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const customers = join(dir, 'customers');
const kase = join(dir, 'fleet.netcase');
let faults: readonly { readonly node: string; readonly rule: string }[];

const valid = new Ajv2020({ allErrors: true, strict: false }).compile(
  JSON.parse(readFileSync(join(root, 'schema/audit.v1.json'), 'utf8')),
);

async function audit(...args: string[]): Promise<{ code: number; json: AuditJson; stderr: string }> {
  const ran = await netcase(['audit', ...args, '--format', 'json', '-o', '-', '-q']);
  const json = JSON.parse(ran.stdout) as AuditJson;
  expect(valid(json), JSON.stringify(valid.errors)).toBe(true);
  return { code: ran.code, json, stderr: ran.stderr };
}

// three customers with the same pod network, in folders of folders, and a docker host
beforeAll(() => {
  const out = join(customers, 'globex/eu/1');
  execFileSync(process.execPath, [
    join(root, 'bench/fleet.mjs'),
    ...['--preset', 'tiny', '--out', out, '--nodes', '8', '--clusters', '2', '--range', '0-7', '--faults'],
  ]);
  faults = JSON.parse(readFileSync(join(out, 'truth.json'), 'utf8')).faults;
  mkdirSync(join(customers, 'initech'));
  for (const file of readdirSync(out).filter((f) => f.startsWith('netcase_c1-')))
    renameSync(join(out, file), join(customers, 'initech', file));
  for (const name of ['docker-api-exposed', 'healthy-vxlan'])
    cpSync(join(root, 'fixtures/bundles', name), join(customers, 'labs', name), { recursive: true });
  mkdirSync(join(customers, 'empty'));
});

describe('a fleet', () => {
  it('its clusters are found, each is judged by itself, and the worst come first', async () => {
    const { code, json } = await audit(customers, '--case', kase);
    expect(code).toBe(1);
    expect(json.nodes).toBe(20);
    const units = Object.fromEntries(json.units.map((u) => [u.name, u]));
    expect(json.units.map((u) => [u.name, u.kind, u.nodes.length])).toEqual([
      ['c1-node-0000', 'cluster', 8],
      ['node-0000', 'cluster', 8],
      ['docker-host', 'node', 1],
      ['node-a', 'cluster', 3],
    ]);
    for (const [name, prefix] of [
      ['node-0000', 'node-'],
      ['c1-node-0000', 'c1-node-'],
    ] as const) {
      const own = faults.filter((f) => f.node.startsWith(prefix));
      expect(own.length).toBeGreaterThan(2);
      const unit = units[name] as AuditUnit;
      const causes = unit.causes
        .filter((c) => c.severity !== 'low')
        .flatMap((c) => c.nodes.map((n) => `${c.rule} ${n}`));
      for (const { node, rule } of own) expect(causes).toContain(`${rule} ${node}`);
      // nothing of the other cluster
      for (const cause of unit.causes) for (const node of cause.nodes) expect(unit.nodes).toContain(node);
    }
    expect(units['node-a']).toMatchObject({
      // a kubelet runs there and no kube-proxy was seen
      mark: 'unchecked',
      findings: { critical: 0, high: 0, medium: 0 },
      undecided: 3,
    });
    expect(units['docker-host']).toMatchObject({ mark: 'critical', podNetwork: null });
    expect(json.verdict.sentence).toMatch(/^2 of 3 clusters and 1 of 1 single node have a fault\./);
  });

  it('a rule that finds the same in many places is one row', async () => {
    const { json } = await audit('--case', kase);
    for (const row of json.rules) {
      const units = json.units.filter((u) => u.causes.some((c) => c.rule === row.rule));
      if (row.cause) expect(units.length, row.rule).toBeGreaterThan(0);
    }
    expect(json.rules.find((r) => r.rule === 'docker-api-exposed')).toMatchObject({ units: 1, nodes: 1, cause: true });
    const effects = json.rules.filter((r) => !r.cause).map((r) => r.rule);
    expect(effects).toContain('trace-pod-to-pod');
  });

  it('the case is a usual one, and a second audit reads only what is new', async () => {
    const before = await netcase(['history', '--case', kase, '--json']);
    const again = await audit(customers, '--case', kase);
    const after = await netcase(['history', '--case', kase, '--json']);
    expect(JSON.parse(after.stdout)).toEqual(JSON.parse(before.stdout));
    expect(again.code).toBe(1);
    const nodes = JSON.parse((await netcase(['nodes', '--case', kase, '--json'])).stdout);
    expect(nodes.nodes.length).toBe(20);
  });

  it('CSV and metrics hold the same numbers', async () => {
    const { json } = await audit('--case', kase);
    const csv = (await netcase(['audit', '--case', kase, '--format', 'csv', '-o', '-', '-q'])).stdout;
    const rows = csv.trimEnd().split('\r\n').slice(1);
    expect(rows.map((r) => r.split('","')[1])).toEqual(json.units.map((u) => u.name));
    const metrics = (await netcase(['audit', '--case', kase, '--format', 'metrics', '-o', '-', '-q'])).stdout;
    expect(metrics.endsWith('\n# EOF\n')).toBe(true);
    for (const u of json.units) {
      const labels = `{kind="${u.kind}",name="${u.name}"`;
      expect(metrics).toContain(`netcase_nodes${labels}} ${u.nodes.length}\n`);
      expect(metrics).toContain(`netcase_findings${labels},severity="critical"} ${u.findings.critical}\n`);
      expect(metrics).toContain(`netcase_questions${labels},decided="no"} ${u.undecided}\n`);
    }
    for (const line of metrics
      .trimEnd()
      .split('\n')
      .filter((l) => !l.startsWith('#')))
      expect(line).toMatch(/^[a-z_]+\{([a-z]+="[^"\n]*",?)+\} \d+$/);
  });

  it('without a format: a page beside the case, which verify knows, and the roll-up on stdout', async () => {
    const ran = await netcase(['audit', '--case', kase, '-q']);
    expect(ran.code).toBe(1);
    expect(ran.stdout).toMatch(/^2 of 3 clusters and 1 of 1 single node have a fault\./);
    expect(ran.stdout).toMatch(/\nCRITICAL: docker-host\n {2}critical, proven: The Docker API listens/);
    expect(ran.stdout).toMatch(
      /\nNo fault found, but not checked to the end:\n {2}cluster of node-a, node-b, node-c \(3 nodes, pods 10\.244\.0\.0\/16\): 3 of \d+ questions not decided\n/,
    );
    const page = join(dir, 'audit.html');
    expect(existsSync(page)).toBe(true);
    const checked = await netcase(['verify', '--case', kase, page]);
    expect(checked).toMatchObject({ code: 0 });
    expect(checked.stdout).toContain('audit.html was rendered from this case');
  });

  it('several formats take their suffixes', async () => {
    const out = join(dir, 'all.html');
    await netcase([
      'audit',
      '--case',
      kase,
      '--format',
      'html',
      '--format',
      'csv',
      '--format',
      'metrics',
      '-o',
      out,
      '-q',
    ]);
    expect(readdirSync(dir).filter((f) => f.startsWith('all.'))).toEqual(['all.csv', 'all.html', 'all.prom']);
  });
});

describe('what cannot be judged', () => {
  it('a cluster whose firewall was not collected is not a pass', async () => {
    const { code, json } = await audit(
      join(root, 'fixtures/bundles/bundle-incomplete'),
      '--case',
      join(dir, 'c.netcase'),
    );
    expect(code).toBe(0);
    expect(json.units).toMatchObject([{ kind: 'cluster', mark: 'medium' }]);
    expect(json.units[0]?.undecided).toBeGreaterThan(0);
    expect(json.verdict.sentence).toContain('In 1 of them questions could not be decided.');
  });

  it('a node of which nothing is known is named, and is no clean exit', async () => {
    const pasted = join(dir, 'pasted/web-1/host/sys');
    mkdirSync(pasted, { recursive: true });
    writeFileSync(join(pasted, 'uname.txt'), 'Linux web-1 6.1.0-18-amd64 #1 SMP Debian x86_64 GNU/Linux\n');
    const { code, json, stderr } = await audit(join(dir, 'pasted'), '--case', join(dir, 'd.netcase'));
    expect(json.units).toMatchObject([{ kind: 'node', name: 'web-1', mark: 'unchecked' }]);
    expect(code).toBe(4);
    expect(stderr).toContain('too incomplete to judge: web-1');
  });

  it('a case without a bundle is no clean exit', async () => {
    const refused = join(dir, 'g.netcase');
    await netcase(['audit', join(customers, 'empty'), '--case', refused, '-q']);
    const { code, stderr } = await audit('--case', refused);
    expect(code).toBe(4);
    expect(stderr).toContain('there is no bundle in the case');
  });

  it('a folder without any bundle, and a broken one, are said', async () => {
    const { code, json, stderr } = await audit(join(customers, 'empty'), '--case', join(dir, 'e.netcase'));
    expect({ code, units: json.units, severity: json.verdict.severity }).toEqual({
      code: 3,
      units: [],
      severity: 'none',
    });
    expect(json.verdict.sentence).toBe('No bundle could be read, so nothing was checked.');
    expect(stderr).toContain('"empty" holds no .tar.gz');
    writeFileSync(join(customers, 'labs/docker-api-exposed/cut.tar.gz'), 'no archive');
    const broken = await audit(join(customers, 'labs/docker-api-exposed'), '--case', join(dir, 'f.netcase'));
    expect(broken.code).toBe(3);
    expect(broken.stderr).toContain('cut.tar.gz');
    expect(broken.json.units.map((u) => u.name)).toEqual(['docker-host']);
  });
});
