// The built program: one script, compiled once and kept beside it with every function that earlier runs compiled. Node's own compile
// cache keeps only what a module compiles while it loads, and start-up is most of a single bundle's time.
const { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } = require('node:fs');
const { createRequire } = require('node:module');
const { basename, dirname, join } = require('node:path');
const { pathToFileURL } = require('node:url');
const v8 = require('node:v8');
const vm = require('node:vm');
const { isMainThread } = require('node:worker_threads');
const { crc32 } = require('node:zlib');

const file = join(__dirname, '../dist/netcase.cjs');

/** What is run: each compiles other functions, and adds its own to the cache once. */
const run = isMainThread ? (process.argv[2] ?? '') : basename(process.argv[1], '.cjs');
const MOST_RUNS = 32;

/** [crc32 of the rest][length of the list][list of runs, JSON][V8's data] */
function readCache(path) {
  try {
    const bytes = readFileSync(path);
    const list = 8 + bytes.readUInt32LE(4);
    // V8 believes its data: what is damaged must not get there
    if (crc32(bytes.subarray(4)) !== bytes.readUInt32LE(0)) return null;
    return { runs: JSON.parse(bytes.toString('utf8', 8, list)), data: bytes.subarray(list) };
  } catch {
    return null;
  }
}

function writeCache(path, runs, data) {
  const part = `${path}.${process.pid}${isMainThread ? '' : '-worker'}`;
  const list = Buffer.from(JSON.stringify(runs));
  const head = Buffer.alloc(8);
  head.writeUInt32LE(list.length, 4);
  head.writeUInt32LE(crc32(data, crc32(list, crc32(head.subarray(4)))));
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(part, Buffer.concat([head, list, data]));
    renameSync(part, path);
  } catch {
    // a folder that may not be written: only the time is lost
    rmSync(part, { force: true });
  }
}

function load() {
  // bin/netcase.cjs has looked at Node's version
  process.env.OCLIF_DISABLE_ENGINE_WARNING = '1';
  // functions that this run does not need are still wanted by the next
  v8.setFlagsFromString('--no-flush-bytecode');
  // a young generation of 1 MiB, by default, is copied several times before the first bundle is judged
  v8.setFlagsFromString('--semi-space-growth-factor=16');
  // what each bundle leaves behind is garbage: by itself the heap grows to several times of what lives in it, and beyond our limit
  if (isMainThread && ['analyze', 'audit', 'ingest'].includes(run)) v8.setFlagsFromString('--heap-growing-percent=50');
  const bytes = readFileSync(file);
  const url = pathToFileURL(file).href;
  // beside the program, so that only who may change the program may change it
  const tag = v8.cachedDataVersionTag();
  const path = join(dirname(file), 'compile-cache', `${tag}-${crc32(bytes)}`);
  const known = readCache(path);
  const script = new vm.Script(bytes.latin1Slice(), { filename: url, cachedData: known?.data });
  const runs = script.cachedDataRejected === false ? known.runs : [];
  process.on('exit', (code) => {
    const whole = [0, 1, 4].includes(code) && !process.argv.includes('--help');
    const way = program.exports.threadUse.any ? `${run} with threads` : run;
    // V8 takes code back only under the flags that it was cached under, and src/commands/reading.ts changes one
    for (const flag of ['--turbofan', '--no-turbofan'])
      if (v8.cachedDataVersionTag() !== tag) v8.setFlagsFromString(flag);
    if (whole && /^[a-z-]+$/.test(run) && !runs.includes(way) && runs.length < MOST_RUNS)
      writeCache(path, [...runs, way], script.createCachedData());
  });
  const program = { exports: {} };
  script.runInThisContext()(program.exports, createRequire(file), program, file, dirname(file), url);
  return program.exports;
}

module.exports = load();
