import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Browser, Page } from 'playwright-core';
import { chromium } from 'playwright-core';

const executablePath = '/usr/bin/chromium';
const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** False with a printed reason where Chromium is not installed; on CI that is a failure, not a skip. */
export function browserAvailable(): boolean {
  if (existsSync(executablePath)) return true;
  if (process.env['CI'] !== undefined) throw new Error(`${executablePath} is missing on CI: .ci/run installs it`);
  console.warn(`skipped: ${executablePath} is not installed (apt-get install chromium)`);
  return false;
}

export async function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath,
    headless: true,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

/** A page that shows `html` from a file URL and records every request, console error and policy report. */
export async function openReport(
  browser: Browser,
  file: string,
  options: { dark?: boolean; width?: number; js?: boolean; print?: boolean } = {},
): Promise<{ page: Page; requests: string[]; errors: string[] }> {
  const context = await browser.newContext({
    colorScheme: options.dark === true ? 'dark' : 'light',
    viewport: { width: options.width ?? 1280, height: 900 },
    javaScriptEnabled: options.js ?? true,
    bypassCSP: false,
  });
  const page = await context.newPage();
  const requests: string[] = [];
  const errors: string[] = [];
  page.on('request', (r) => requests.push(r.url()));
  page.on('console', (m) => {
    if (m.type() === 'error') errors.push(m.text());
  });
  page.on('pageerror', (e) => errors.push(String(e)));
  page.on('dialog', (d) => {
    errors.push(`dialog: ${d.message()}`);
    void d.dismiss();
  });
  await page.goto(`file://${file}`);
  if (options.print === true) await page.emulateMedia({ media: 'print' });
  return { page, requests, errors };
}

/** Runs axe's full default rule set, contrast included. The page's own policy would refuse the script: it is evaluated by the driver. */
export async function axe(page: Page): Promise<{ id: string; help: string; nodes: string[] }[]> {
  await page.evaluate(axeSource);
  const result = (await page.evaluate('axe.run(document, { resultTypes: ["violations"] })')) as {
    violations: { id: string; help: string; nodes: { html: string }[] }[];
  };
  return result.violations.map((v) => ({
    id: v.id,
    help: v.help,
    nodes: v.nodes.slice(0, 3).map((n) => n.html.slice(0, 200)),
  }));
}
