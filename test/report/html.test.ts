import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { renderHtml } from '../../src/report/html.ts';
import type { Analysis } from '../../src/report/index.ts';
import { axe, browserAvailable, launch, openReport } from '../support/browser.ts';
import { analysisOf, demo, fleet, PLACE, recorded } from './fleet.ts';

const SIZES = ['0', '1', '3', '40', '1000'] as const;
const MODES = {
  light: {},
  dark: { dark: true },
  '320 px': { width: 320 },
  '320 px dark': { width: 320, dark: true },
  print: { print: true },
} as const;

let dir: string;
let browser: Browser;
const files = new Map<string, string>();
const html = new Map<string, string>();

async function analyses(): Promise<Record<(typeof SIZES)[number], Analysis>> {
  return {
    '0': analysisOf(() => {}),
    '1': await fleet(1),
    '3': await demo(),
    '40': await fleet(40, 4),
    '1000': await fleet(1000, 22),
  };
}

function save(name: string, text: string): string {
  const file = join(dir, `${name}.html`);
  writeFileSync(file, text);
  return file;
}

async function on<T>(
  file: string,
  options: Parameters<typeof openReport>[2],
  look: (page: Page, seen: { requests: string[]; errors: string[] }) => Promise<T>,
): Promise<T> {
  const { page, requests, errors } = await openReport(browser, file, options);
  try {
    return await look(page, { requests, errors });
  } finally {
    await page.context().close();
  }
}

describe.runIf(browserAvailable())('html report in Chromium', () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'nc-html-'));
    for (const [size, analysis] of Object.entries(await analyses())) {
      const text = renderHtml(analysis, PLACE);
      html.set(size, text);
      files.set(size, save(size, text));
    }
    browser = await launch();
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  for (const size of SIZES) {
    for (const [mode, options] of Object.entries(MODES)) {
      it(`${size} nodes, ${mode}: no axe violation, no outside request, no error, no sideways scroll`, async () => {
        await on(files.get(size) as string, options, async (page, { requests, errors }) => {
          expect(await axe(page)).toEqual([]);
          expect(requests).toEqual([`file://${files.get(size)}`]);
          expect(errors).toEqual([]);
          const overflow = await page.evaluate('document.documentElement.scrollWidth - window.innerWidth');
          expect(overflow, 'page is wider than its window').toBeLessThanOrEqual(0);
        });
      });
    }

    it(`${size} nodes, scripts off: no axe violation in the static page, 99 % of the text`, async () => {
      const bare = save(`${size}-static`, (html.get(size) as string).replace(/<script>[\s\S]*<\/script>/, ''));
      await on(bare, {}, async (page) => expect(await axe(page)).toEqual([]));
      const text = (page: Page) => page.evaluate('document.body.innerText') as Promise<string>;
      const file = files.get(size) as string;
      const without = await on(file, { js: false }, async (page, { errors }) => {
        expect(errors).toEqual([]);
        expect(await page.evaluate('document.querySelectorAll("button").length'), 'buttons that would be dead').toBe(0);
        return text(page);
      });
      const withScript = await on(file, {}, (page) => text(page));
      expect(without.length).toBeGreaterThanOrEqual(0.99 * withScript.length);
    });

    it(`${size} nodes: heading order, one h1, landmarks, a label for everything that scrolls`, async () => {
      await on(files.get(size) as string, {}, async (page) => {
        const levels = (await page.evaluate(
          '[...document.querySelectorAll("h1,h2,h3,h4,h5,h6")].map((h) => Number(h.tagName[1]))',
        )) as number[];
        expect(levels[0]).toBe(1);
        expect(levels.filter((l) => l === 1)).toHaveLength(1);
        levels.forEach((l, i) => {
          expect(l - (levels[i - 1] ?? 0)).toBeLessThanOrEqual(1);
        });
        const count = (selector: string) => page.locator(selector).count();
        expect([await count('main'), await count('header'), await count('nav[aria-label]')]).toEqual([1, 1, 1]);
        expect(await count('[tabindex]:not([aria-label])')).toBe(0);
        expect(await count('table:not(:has(caption))')).toBe(0);
        expect(await count('th:not([scope])')).toBe(0);
        const broken = await page.evaluate(
          '[...document.querySelectorAll(\'a[href^="#"]\')].filter((a) => document.getElementById(a.hash.slice(1)) === null).map((a) => a.hash)',
        );
        expect(broken, 'links to nowhere').toEqual([]);
      });
    });
  }

  it('runs from a file URL under its own policy, and the policy holds', async () => {
    let hits = 0;
    const server = createServer((_, res) => {
      hits += 1;
      res.end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    await on(files.get('3') as string, {}, async (page) => {
      const csp = await page.getAttribute('meta[http-equiv="Content-Security-Policy"]', 'content');
      expect(csp).toMatch(
        /^default-src 'none'; style-src 'sha256-[^']+'; script-src 'sha256-[^']+'; base-uri 'none'; form-action 'none'$/,
      );
      expect(await page.locator('button').count(), 'our own script ran').toBeGreaterThan(0);
      expect(await page.evaluate('getComputedStyle(document.querySelector(".verdict")).borderLeftWidth')).toBe('8px');
      await page.evaluate(`
        window.refused = 0;
        document.addEventListener('securitypolicyviolation', () => { window.refused += 1; });
        const s = document.createElement('script'); s.textContent = 'window.intruder = 1'; document.body.append(s);
        const i = document.createElement('img'); i.src = 'http://127.0.0.1:${port}/x.png'; document.body.append(i);
        document.body.insertAdjacentHTML('beforeend', '<p id="evil" style="color: rgb(1, 2, 3)" onclick="window.intruder = 2">x</p>');
        document.getElementById('evil').click();
      `);
      await page.waitForTimeout(100);
      expect(await page.evaluate('window.intruder')).toBe(undefined);
      expect(await page.evaluate('getComputedStyle(document.getElementById("evil")).color')).not.toBe('rgb(1, 2, 3)');
      expect(await page.evaluate('window.refused')).toBe(4);
      expect(hits, 'requests that left the page').toBe(0);
    });
    server.close();
  });

  it('copies a command with the button, and says so', async () => {
    await on(files.get('3') as string, {}, async (page) => {
      const button = page.locator('button').first();
      expect(await button.getAttribute('aria-label')).toMatch(/^Copy: Run command, cause 1, step 1$/);
      await button.click();
      await expect.poll(() => page.locator('[aria-live]').textContent()).toBe('copied');
    });
  });

  for (const size of ['3', '40'] as const) {
    it(`${size} nodes: Tab reaches every control, each shows its focus; the skip link comes first`, async () => {
      await on(files.get(size) as string, {}, async (page) => {
        const all = (await page.evaluate(`(() => {
          const list = [...document.querySelectorAll('a[href], button, summary, input, [tabindex="0"]')];
          const shown = list.filter((e) => e.checkVisibility({ contentVisibilityAuto: true }));
          shown.forEach((e, i) => { e.dataset.walk = String(i); });
          return shown.map((e) => e.dataset.walk);
        })()`)) as string[];
        const walked: string[] = [];
        for (let i = 0; i < all.length; i += 1) {
          await page.keyboard.press('Tab');
          const at = (await page.evaluate(`(() => {
            const e = document.activeElement;
            const { outlineStyle, outlineWidth } = getComputedStyle(e);
            const box = e.getBoundingClientRect();
            return { walk: e.dataset.walk ?? e.tagName, text: e.textContent.slice(0, 40),
              ring: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2, onScreen: box.right > 0 && box.bottom > 0 };
          })()`)) as { walk: string; text: string; ring: boolean; onScreen: boolean };
          if (i === 0) expect(at.text).toBe('Skip to the verdict');
          expect(at, `focus ${i}`).toMatchObject({ ring: true, onScreen: true });
          walked.push(at.walk);
        }
        expect(walked).toEqual(all);
      });
    });
  }

  it('prints dark on white whatever the screen likes, and the whole picture of the network', async () => {
    await on(files.get('3') as string, { print: true, dark: true, width: 680 }, async (page) => {
      expect(await page.evaluate('getComputedStyle(document.body).backgroundColor')).toBe('rgb(255, 255, 255)');
      expect(await page.evaluate('getComputedStyle(document.body).color')).toBe('rgb(26, 29, 33)');
      const picture = await page.locator('svg[role="img"]').first().boundingBox();
      expect((picture?.x ?? 0) + (picture?.width ?? 0)).toBeLessThanOrEqual(680);
    });
  });

  it('print opens what is folded and hides what only a screen needs', async () => {
    await on(files.get('3') as string, { print: true }, async (page) => {
      expect(await page.locator('nav').isVisible()).toBe(false);
      expect(await page.locator('button:visible').count()).toBe(0);
      const folded = await page.evaluate(
        '[...document.querySelectorAll("details td")].filter((e) => e.getBoundingClientRect().height === 0).length',
      );
      expect(folded).toBe(0);
      const pdf = await page.pdf({ format: 'A4', preferCSSPageSize: true });
      const pages = pdf.toString('latin1').match(/\/Type\s*\/Page\b/g)?.length ?? 0;
      expect(pages).toBeGreaterThan(1);
      // six findings with their paths: about two pages each
      expect(pages).toBeLessThanOrEqual(13);
    });
  });

  it('the picture keeps its text inside its boxes', async () => {
    for (const size of ['3', '40', '1000']) {
      await on(files.get(size) as string, {}, async (page) => {
        const out = await page.evaluate(`[...document.querySelectorAll('svg[role="img"] g')].flatMap((g) => {
          const r = g.querySelector('rect').getBBox();
          return [...g.querySelectorAll('text')].filter((t) => {
            const b = t.getBBox();
            return b.x < r.x || b.x + b.width > r.x + r.width || b.y < r.y || b.y + b.height > r.y + r.height;
          }).map((t) => t.textContent);
        })`);
        expect(out).toEqual([]);
      });
    }
  });

  it('draws no pass for what was not checked', async () => {
    const [bundle] = await recorded('healthy-vxlan');
    if (bundle === undefined) throw new Error('no fixture');
    const empty = analysisOf((memory) => {
      const nothing = bundle.evidence.map((r) => ({ id: r.id, path: r.path, status: 'missing' as const }));
      memory.add({ ...bundle, evidence: nothing, members: new Map() }, 'node-x', (t) => t);
    });
    expect(empty.findings.filter((f) => f.severity !== 'info' && f.rule !== 'bundle-incomplete')).toEqual([]);
    expect(Object.values(empty.matrix).some((row) => row['node-x'] === 'pass')).toBe(false);
    for (const [name, text] of [
      [
        'empty',
        renderHtml({ ...empty, findings: [], causes: [], verdict: { severity: 'none', sentence: 'x' } }, PLACE),
      ],
      ['found', renderHtml(empty, PLACE)],
      ['none', html.get('0') as string],
    ] as const) {
      await on(save(`unchecked-${name}`, text), {}, async (page) => {
        expect(await page.locator('svg.mark.pass').count(), name).toBe(0);
        expect(await page.locator('h1').textContent(), name).not.toContain('No fault');
      });
    }
  });
});

describe('size', () => {
  it('1,000 nodes and 30 findings: at most 150 kB', async () => {
    const analysis = await fleet(1000, 22);
    expect(analysis.findings.filter((f) => f.severity !== 'info').length).toBeGreaterThanOrEqual(30);
    const bytes = Buffer.byteLength(renderHtml(analysis, PLACE));
    console.log(`1,000 nodes, ${analysis.findings.length} findings: ${bytes} bytes of HTML`);
    expect(bytes).toBeLessThanOrEqual(150_000);
  });

  it('a cap is kept: context lines go first, then figures, then findings; each cut is said', async () => {
    const analysis = await fleet(150, 1);
    const full = renderHtml(analysis, PLACE);
    const size = Buffer.byteLength(full);
    expect(full).not.toContain('lines around the cited lines');
    const cited = (text: string) => (text.match(/class="l cited"/g) ?? []).length;
    const lines = (text: string) => (text.match(/class="l( cited)?"/g) ?? []).length;
    const one = renderHtml(analysis, PLACE, size - 1);
    expect(one).toContain('Left out here: lines around the cited lines but 1 each side');
    expect(cited(one)).toBe(cited(full));
    expect(lines(one)).toBeLessThan(lines(full));
    const none = renderHtml(analysis, PLACE, Buffer.byteLength(one) - 1);
    expect(cited(none)).toBe(cited(full));
    expect(lines(none)).toBe(cited(none));
    for (let text = none, cap = Buffer.byteLength(none) - 1; ; cap = Buffer.byteLength(text) - 1) {
      const next = renderHtml(analysis, PLACE, cap);
      if (Buffer.byteLength(next) > cap) break;
      expect(next).toContain('Left out here');
      expect(next).toMatch(/sha256 <code>[0-9a-f]{64}<\/code>\) has them all/);
      text = next;
    }
  });

  it('1,000 nodes with 600 findings stay under 5 MB', async () => {
    const analysis = await fleet(1000, 1);
    expect(analysis.findings.length).toBeGreaterThan(600);
    expect(Buffer.byteLength(renderHtml(analysis, PLACE))).toBeLessThanOrEqual(5_000_000);
  });
});
