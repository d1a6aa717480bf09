import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeEvidence } from '../../src/cases/evidence-text.ts';
import { nodeInfo } from '../../src/cases/prepare.ts';
import type { TraceJson } from '../../src/core/trace.ts';
import { NodeFacts } from '../../src/engine/index.ts';
import { buildNode, type TraceResult, trace } from '../../src/net/index.ts';
import { buildReportModel } from '../../src/report/build.ts';
import { renderHtml } from '../../src/report/html.ts';
import type { Analysis } from '../../src/report/index.ts';
import { renderSarif } from '../../src/report/interchange.ts';
import { pathModel, shortPath } from '../../src/report/path.ts';
import { renderMarkdown } from '../../src/report/ticket.ts';
import { axe, browserAvailable, launch, openReport } from '../support/browser.ts';
import { analysisOf, PLACE, recorded } from './fleet.ts';

const TCP = { from: '10.244.1.10', to: '10.244.2.10:80', proto: 'tcp' } as const;

async function traced(fixture: string, request: Parameters<typeof trace>[1] = TCP): Promise<TraceResult> {
  const nodes = (await recorded(fixture)).map((bundle) =>
    buildNode(
      new NodeFacts({
        info: nodeInfo(bundle, bundle.nodeName, bundle.evidence),
        textAt: (path) => {
          const member = bundle.members.get(path);
          return member === undefined ? null : decodeEvidence(member.bytes);
        },
      }),
    ),
  );
  return trace(nodes, request);
}

/** The analysis of a recorded fault, its gravest finding with the path of a packet or none, the others without. */
async function withPath(fixture: string, path: TraceJson | null): Promise<Analysis> {
  const bundles = await recorded(fixture);
  const analysis = analysisOf((memory) => {
    for (const bundle of bundles) memory.add(bundle, bundle.nodeName, (text) => text);
  });
  const first = analysis.causes[0]?.finding;
  const findings = analysis.findings.map(({ trace: _, ...f }) =>
    f.id === first && path !== null ? { ...f, trace: path } : f,
  );
  return { ...analysis, findings };
}

describe('the path of a packet in a report', () => {
  it('marks the hop that ends it, shows the destination as not reached, and frames the tunnel', async () => {
    const path = pathModel(await traced('forward-drops-pod-traffic'), 'p', 'f', 'm');
    expect(path).toMatchObject({
      half: 'the packet',
      verdict: 'rejected',
      packet: '10.244.1.10 -> 10.244.2.10 port 80, tcp',
    });
    const short = shortPath(path);
    expect(short.length).toBeLessThanOrEqual(9);
    expect(short.filter((h) => h.mark === 'stop')).toEqual([
      expect.objectContaining({
        node: 'node-b',
        place: 'filter/FORWARD',
        action: '\u2715 REJECT',
        where: 'host/fw/iptables-save.txt:7',
      }),
    ]);
    expect(short.at(-1)).toMatchObject({ mark: 'unreached', place: '10.244.2.10', action: 'not reached' });
    expect(path.strip.map((p) => p.outer)).toEqual(['', 'vxlan flannel.1', '']);
    const framed = path.strip[1]?.hops.map((h) => h.action) ?? [];
    expect([framed[0], framed.at(-1)]).toEqual(['encapsulate', 'decapsulate']);
  });

  it('draws the answer when only that is lost', async () => {
    const lost = await traced('ip-forward-disabled', { ...TCP, from: '10.244.2.10', to: '10.244.1.10:80' });
    if (lost.verdict === 'delivered') {
      expect(lost.reply?.verdict).toBe('dropped');
      expect(pathModel(lost, 'p', 'f', 'm')).toMatchObject({ half: 'its answer', verdict: 'dropped' });
    } else expect(pathModel(lost, 'p', 'f', 'm').half).toBe('the packet');
  });

  it('leaves nothing marked when the packet arrives', async () => {
    const path = pathModel(await traced('healthy-vxlan'), 'p', 'f', 'm');
    expect(path.hops.filter((h) => h.mark !== 'ok')).toEqual([]);
    expect(shortPath(path).length).toBeLessThanOrEqual(9);
    expect(path.reply).toMatch(/^The answer is delivered: /);
  });

  it('is in the model once, linked both ways, and in no model without a trace', async () => {
    const analysis = await withPath('forward-drops-pod-traffic', await traced('forward-drops-pod-traffic'));
    const model = buildReportModel(analysis, PLACE);
    expect(model.paths).toHaveLength(1);
    expect(model.causes[0]?.path).toBe(model.paths[0]?.anchor);
    expect(model.paths[0]?.finding).toBe(model.causes[0]?.anchor);
    const bare = buildReportModel(await withPath('forward-drops-pod-traffic', null), PLACE);
    expect([bare.paths, bare.causes[0]?.path]).toEqual([[], '']);
  });

  it('is a numbered list of at most nine hops in Markdown', async () => {
    const text = renderMarkdown(
      await withPath('forward-drops-pod-traffic', await traced('forward-drops-pod-traffic')),
      PLACE,
    );
    const items = text.split('\n').filter((l) => /^\d+\. /.test(l));
    expect(items.length).toBeGreaterThan(3);
    expect(items.length).toBeLessThanOrEqual(9);
    expect(items.join('\n')).toContain(
      '**\u2715 REJECT** `-A FORWARD -j REJECT --reject-with icmp-host-prohibited` (`host/fw/iptables-save.txt:7`)',
    );
    expect(items.at(-1)).toMatch(/`10\.244\.2\.10`: not reached$/);
    expect(text.length).toBeLessThanOrEqual(4000);
  });

  it('stands in Markdown with the cause when a symptom of it was followed', async () => {
    const bundles = await recorded('vxlan-forwarding-entry-wrong');
    const analysis = analysisOf((memory) => {
      for (const bundle of bundles) memory.add(bundle, bundle.nodeName, (text) => text);
    });
    const [cause] = analysis.causes;
    const symptom = analysis.findings.find((f) => cause?.explains.includes(f.id) && f.trace !== undefined);
    expect(symptom?.rule).toBe('trace-pod-to-pod');
    const text = renderMarkdown(analysis, PLACE);
    expect(text).toMatch(/\n\d\. node-b `mac flannel\.1`: \*\*\u2715 DROP\*\* /);
  });

  it('is a code flow in SARIF', async () => {
    const sarif = JSON.parse(
      renderSarif(await withPath('forward-drops-pod-traffic', await traced('forward-drops-pod-traffic')), PLACE),
    );
    const [flow] = sarif.runs[0].results.flatMap((r: { codeFlows?: unknown[] }) => r.codeFlows ?? []);
    const locations = flow.threadFlows[0].locations;
    expect(locations.at(-1).location.physicalLocation).toMatchObject({
      artifactLocation: { uri: 'node-b/host/fw/iptables-save.txt' },
      region: { startLine: 7 },
    });
    expect(locations.at(-1).location.message.text).toContain('filter/FORWARD: reject');
  });

  it('shows hostile text as text', async () => {
    const real = await traced('forward-drops-pod-traffic');
    const evil = '</code><script>alert(1)</script>\u202e\u0007';
    const hops = real.hops.map((h) => ({ ...h, node: evil, place: evil, text: evil }));
    const html = renderHtml(await withPath('forward-drops-pod-traffic', { ...real, hops, because: evil }), PLACE);
    expect(html).not.toContain('<script>alert');
    expect(html).not.toContain('\u202e');
  });
});

describe.runIf(browserAvailable())('packet paths in Chromium', () => {
  let dir: string;
  let browser: Browser;
  let file: string;
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'nc-path-'));
    file = join(dir, 'report.html');
    writeFileSync(
      file,
      renderHtml(await withPath('forward-drops-pod-traffic', await traced('forward-drops-pod-traffic')), PLACE),
    );
    browser = await launch();
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  it.each([
    ['light', {}],
    ['dark', { dark: true }],
    ['320 px', { width: 320 }],
    ['320 px dark', { width: 320, dark: true }],
    ['print', { print: true }],
    ['scripts off', { js: false }],
  ] as const)('%s: no axe violation, no sideways scroll, the drop has the thick frame', async (name, options) => {
    const { page, errors } = await openReport(browser, file, options);
    try {
      if (name !== 'scripts off') expect(await axe(page)).toEqual([]);
      if (name !== 'scripts off') {
        const look = (await page.evaluate(`(() => {
          const stop = document.querySelector('.strip .stop');
          return [document.documentElement.scrollWidth - window.innerWidth, stop.textContent, getComputedStyle(stop).borderTopWidth, document.querySelectorAll('.strip .hop:not(.folded)').length];
        })()`)) as [number, string, string, number];
        expect(look[0]).toBeLessThanOrEqual(0);
        expect(look[1]).toContain('\u2715 REJECT');
        expect(look[2]).toBe('4px');
        expect(look[3]).toBeLessThanOrEqual(9);
      }
      expect(errors).toEqual([]);
      const shots = process.env['NETCASE_SHOTS'];
      if (shots !== undefined)
        await page.screenshot({ path: join(shots, `path-${name.replaceAll(' ', '-')}.png`), fullPage: true });
    } finally {
      await page.context().close();
    }
  });
});
