import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RULES } from '../../rules/index.ts';
import { type AuditJson, auditOf } from '../../src/report/audit.ts';
import { auditHtml } from '../../src/report/audit-html.ts';
import { auditCsv, auditMetrics, auditText } from '../../src/report/audit-text.ts';
import type { Analysis } from '../../src/report/index.ts';
import { axe, browserAvailable, launch, openReport } from '../support/browser.ts';
import { analysisOf, fleet, PLACE } from './fleet.ts';

/** The three-node clusters of `fleet`, each a unit. */
function rolled(analysis: Analysis): AuditJson {
  const nodes = analysis.bundles.map((b) => b.node);
  const units = nodes.flatMap((_, i) =>
    i % 3 === 0 ? [{ nodes: nodes.slice(i, i + 3) as [string, ...string[]], podNetwork: '10.244.0.0/16' }] : [],
  );
  return auditOf(analysis, PLACE, units, RULES);
}

let dir: string;
let browser: Browser;
let analysis: Analysis;
let audit: AuditJson;
const pages = new Map<string, string>();

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'nc-audit-html-'));
  analysis = await fleet(30, 4);
  audit = rolled(analysis);
  const empty = analysisOf(() => {});
  for (const [name, html] of [
    ['fleet', auditHtml(audit, analysis)],
    ['empty', auditHtml(rolled(empty), empty)],
  ] as const) {
    writeFileSync(join(dir, `${name}.html`), html);
    pages.set(name, html);
  }
  if (browserAvailable()) browser = await launch();
});
afterAll(async () => {
  await browser?.close();
  rmSync(dir, { recursive: true, force: true });
});

describe('a fleet rolled up', () => {
  it('has each cluster once, the worst first, and its own causes only', () => {
    expect(audit.units.length).toBe(10);
    expect(audit.units.map((u) => u.mark)).toEqual([...Array(3).fill('critical'), ...Array(7).fill('unchecked')]);
    for (const unit of audit.units.slice(0, 3)) {
      expect(unit.causes.map((c) => c.rule)).toEqual([
        'forward-drops-pod-traffic',
        'egress-masquerade-missing',
        'service-proxy-not-programmed',
      ]);
      for (const cause of unit.causes) for (const node of cause.nodes) expect(unit.nodes).toContain(node);
    }
    expect(audit.verdict.sentence).toBe('3 of 10 clusters have a fault. In 10 of them questions could not be decided.');
    expect(audit.rules.find((r) => r.rule === 'egress-masquerade-missing')).toMatchObject({ units: 3, nodes: 3 });
  });

  it('an accepted finding is no fault any more', () => {
    const [finding] = analysis.findings.filter((f) => f.rule === 'egress-masquerade-missing');
    const accepted = { [finding?.id ?? '']: { because: 'the gateway does it', until: null } };
    const again = rolled({ ...analysis, accepted });
    expect(again.rules.find((r) => r.rule === 'egress-masquerade-missing')).toMatchObject({ units: 2, nodes: 2 });
  });

  it('what a bundle says stays text in every format', () => {
    const hostile = '<script>alert(1)</script>\u202e"};\n=cmd';
    const poisoned: AuditJson = {
      ...audit,
      units: audit.units.map((u) => ({
        ...u,
        name: hostile,
        nodes: [hostile],
        kind: 'node',
        podNetwork: hostile,
        missingNodes: [hostile],
        causes: u.causes.map((c) => ({ ...c, message: hostile, nodes: [hostile] })),
      })),
    };
    const html = auditHtml(poisoned, analysis);
    expect(html).not.toContain('<script');
    expect(html).not.toContain('\u202e');
    for (const text of [auditText(poisoned), auditMetrics(poisoned)]) {
      expect(text).not.toContain('\u202e');
      for (const line of text.split('\n')) expect(line).not.toMatch(/^=cmd/);
    }
    expect(auditMetrics(poisoned)).toContain('name="<script>alert(1)</script>\\\\u{202e}\\"};^J=cmd"');
    expect(auditCsv(poisoned)).not.toMatch(/(^|,)"=/m);
  });

  it('the same audit gives the same bytes', () => {
    expect(auditHtml(rolled(analysis), analysis)).toBe(pages.get('fleet'));
  });
});

describe.runIf(browserAvailable())('in Chromium', () => {
  it.each([
    ['fleet', {}],
    ['fleet', { dark: true }],
    ['fleet', { width: 320 }],
    ['fleet', { js: false }],
    ['fleet', { print: true }],
    ['empty', {}],
  ] as const)('%s %j: no request, no error, nothing that axe finds, nothing beside the page', async (name, options) => {
    const { page, requests, errors } = await openReport(browser, join(dir, `${name}.html`), options);
    try {
      expect(requests).toEqual([`file://${join(dir, `${name}.html`)}`]);
      expect(errors).toEqual([]);
      if (!('js' in options)) expect(await axe(page)).toEqual([]);
      const wide = await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');
      expect(wide).toBe(0);
      // the drawn marks have a size: a reference that leads nowhere has none
      const marks = (await page.evaluate(
        '[...document.querySelectorAll("svg.mark use")].map((use) => use.getBBox().width > 0)',
      )) as boolean[];
      expect(marks.length).toBeGreaterThan(0);
      expect(marks.every(Boolean)).toBe(true);
    } finally {
      await page.context().close();
    }
  });

  it('every link of the page leads somewhere in it', async () => {
    const { page } = await openReport(browser, join(dir, 'fleet.html'), {});
    const targets = await page
      .locator('main a[href^="#"]')
      .evaluateAll((list) => list.map((a) => a.getAttribute('href')));
    expect(targets.length).toBe(3);
    for (const target of targets) expect(await page.locator(target ?? '').count(), `${target}`).toBe(1);
    await page.context().close();
  });
});
