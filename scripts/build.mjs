// Bundles src/ into one script, dist/netcase.cjs: start-up is most of a single bundle's time, and unbundled oclif and kysely cost 100 ms each.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import nunjucks from 'nunjucks';

const root = join(fileURLToPath(import.meta.url), '../..');
const pkg = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

// the same as src/cases/tool.ts
const JUDGING = ['rules', 'src/core', 'src/facts', 'src/parsers', 'src/derive', 'src/net', 'src/rule', 'src/engine'];
const hash = createHash('sha256');
for (const folder of JUDGING) {
  const files = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((f) => f.endsWith('.ts'))
    .sort();
  for (const file of files) {
    const text = readFileSync(join(root, folder, file));
    hash.update(`${folder}/${file} ${text.length}\n`).update(text);
  }
}

/** Templates as nunjucks' own code objects, evaluated as part of the bundle. */
function templateModule() {
  const environment = new nunjucks.Environment(new nunjucks.FileSystemLoader(join(root, 'reports')), {
    autoescape: true,
    throwOnUndefined: true,
  });
  for (const name of ['short', 'slice20', 'md', 'code']) environment.addFilter(name, () => '');
  const names = ['audit/audit.njk', 'incident/incident.njk', 'incident/parts.njk', 'ticket/ticket.njk'];
  const parts = names.map((name) => {
    const source = readFileSync(join(root, 'reports', name), 'utf8');
    const code = nunjucks.precompileString(source, { name, env: environment, wrapper: ([t]) => t.template });
    return `${JSON.stringify(name)}: (() => { ${code} })()`;
  });
  const css = readFileSync(join(root, 'reports/incident/incident.css'), 'utf8');
  const js = readFileSync(join(root, 'reports/incident/incident.js'), 'utf8');
  return `export const templates = { compiled: { ${parts.join(',\n')} }, css: ${JSON.stringify(css)}, js: ${JSON.stringify(js)} };\n`;
}

/** Node's own modules that are loaded when the program starts and hardly ever used: 20 ms of a run. */
const LAZY = ['assert', 'child_process', 'perf_hooks', 'readline'];

/** Packages of oclif that are loaded with it and that no command of ours uses: a spinner's pictures, patterns of file names. */
const LAZY_PACKAGES = ['cli-spinners', 'minimatch'];

/** A module that loads another one when something of it is used. */
function lazily(name, from) {
  const loaded = createRequire(from)(name);
  const load = `require('${name}')`;
  const start = typeof loaded === 'function' ? `module.exports = (...args) => ${load}(...args);` : '';
  const keys = JSON.stringify(Object.keys(loaded));
  return `${start}for (const key of ${keys}) Object.defineProperty(module.exports, key, { enumerable: true, get: () => ${load}[key] });`;
}

const dist = join(root, 'dist');
mkdirSync(dist, { recursive: true });
const templatesFile = join(dist, `templates.${process.pid}.gen.mjs`);
writeFileSync(templatesFile, templateModule());

const { outputFiles } = await build({
  write: false,
  absWorkingDir: root,
  entryPoints: [join(root, 'src/program.ts')],
  outfile: join(dist, 'netcase.cjs'),
  bundle: true,
  format: 'cjs',
  platform: 'node',
  mainFields: ['module', 'main'],
  target: 'node22',
  external: ['better-sqlite3/package.json'],
  minifySyntax: true,
  minifyWhitespace: true,
  lineLimit: 120,
  legalComments: 'none',
  // templates are compiled here: its compiler and loaders would only cost start-up
  alias: { nunjucks: 'nunjucks/browser/nunjucks-slim.js' },
  define: {
    NETCASE_BUILD: JSON.stringify({ version: pkg.version, ruleset: hash.digest('hex') }),
    NETCASE_TEMPLATES: 'NETCASE_TEMPLATES_INLINE',
    'import.meta.filename': '__filename',
    'import.meta.dirname': '__dirname',
    'import.meta.url': '__url',
  },
  // a function that bin/program.cjs calls
  banner: { js: '(function (exports, require, module, __filename, __dirname, __url) {' },
  footer: { js: '})' },
  plugins: [
    {
      name: 'start',
      setup(b) {
        b.onResolve({ filter: new RegExp(`^(node:)?(${LAZY.join('|')})$`) }, ({ path, namespace }) =>
          namespace === 'lazy'
            ? { path, external: true }
            : { path: path.replace(/^(node:)?/, 'node:'), namespace: 'lazy', pluginData: import.meta.url },
        );
        b.onResolve({ filter: new RegExp(`^(${LAZY_PACKAGES.join('|')})$`) }, ({ path, namespace, importer }) =>
          namespace === 'lazy' ? undefined : { path, namespace: 'lazy', pluginData: importer },
        );
        b.onLoad({ filter: /.*/, namespace: 'lazy' }, ({ path, pluginData }) => ({
          contents: lazily(path, pluginData),
          loader: 'js',
          resolveDir: path.startsWith('node:') ? root : dirname(pluginData),
        }));
        // the package stays where it is, with its binaries; only its scripts, which take 5 ms to be found one by one, are bundled
        b.onLoad({ filter: /better-sqlite3\/lib\/binding\.js$/ }, ({ path }) => {
          const lib = "path.join(require.resolve('better-sqlite3/package.json'), '../lib')";
          return { contents: readFileSync(path, 'utf8').replaceAll('__dirname', lib), loader: 'js' };
        });
        // oclif asks it only whether this is Windows' Linux; the rest of it finds PowerShell
        b.onResolve({ filter: /^wsl-utils$/ }, ({ path }) => ({ path, namespace: 'wsl' }));
        b.onLoad({ filter: /.*/, namespace: 'wsl' }, () => ({
          contents: "export { default as isWsl } from 'is-wsl';",
          resolveDir: join(root, 'node_modules/wsl-utils'),
        }));
      },
    },
    {
      name: 'templates',
      setup(b) {
        // only the module that renders may carry the templates' text
        b.onLoad({ filter: /src\/report\/templates\.ts$/ }, (args) => ({
          contents: `import { templates as NETCASE_TEMPLATES_INLINE } from ${JSON.stringify(templatesFile)};\n${readFileSync(args.path, 'utf8')}`,
          loader: 'ts',
        }));
      },
    },
  ],
  logLevel: 'warning',
});
rmSync(templatesFile);

// a command that starts while this builds finds the old program or the new one, whole
for (const { path, contents } of outputFiles) {
  if (existsSync(path) && readFileSync(path).equals(contents)) continue;
  writeFileSync(`${path}.${process.pid}`, contents);
  renameSync(`${path}.${process.pid}`, path);
  for (const entry of readdirSync(dist))
    if (join(dist, entry) !== path) rmSync(join(dist, entry), { force: true, recursive: true });
}
