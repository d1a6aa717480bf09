#!/usr/bin/env bash
# `npm run demo` and `npm test` each work alone on a fresh clone: install what is missing, build, then do the job on Node 24.
set -euo pipefail
cd "$(dirname "$0")/.."
job=$1
shift
if [ ! -x node_modules/.bin/node ] || [ ! -d node_modules/better-sqlite3 ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  echo "installing packages (npm ci) ..." >&2
  npm ci --no-audit --no-fund --loglevel=error
  # the Node runtime is an npm package whose install script unpacks the binary; package.json records the consent
  [ -x node_modules/.bin/node ] || npm rebuild node --loglevel=error
fi
PATH="$PWD/node_modules/.bin:$PATH"
export PATH
node scripts/build.mjs
case $job in
  demo) exec node scripts/demo.mjs "$@" ;;
  test) exec vitest run "$@" ;;
  *) echo "with-setup.sh: no job $job" >&2; exit 2 ;;
esac
