// Command line of the benchmark.
export class UsageError extends Error {}

export const BENCHES = ['fleet', 'memory', 'single', 'unrelated', 'growth', 'trace', 'reach'];

export const USAGE = `npm run bench -- [--quick] [--only ${BENCHES.join(',')}] [--runs N] [--work DIR] [--json FILE] [--program FILE]
  --quick        fewer and smaller fleets and runs: a minute or two
  --only A,B     these measurements only
  --runs N       kept rounds of each (default 5, quick 3)
  --work DIR     where fleets and cases go (default: netcase-bench in the temporary folder); fleets are kept for the next run
  --json FILE    the figures as JSON too
  --program FILE measure this bin/netcase.cjs instead of building the one of this checkout
`;

export function parseArguments(argv) {
  const options = { quick: false, only: BENCHES, runs: null, work: null, json: null, program: null };
  for (let i = 0; i < argv.length; i++) {
    const name = argv[i];
    if (name === '--quick') {
      options.quick = true;
      continue;
    }
    const value = argv[i + 1];
    const key = { '--only': 'only', '--runs': 'runs', '--work': 'work', '--json': 'json', '--program': 'program' }[
      name
    ];
    if (key === undefined || value === undefined) throw new UsageError(`unknown or incomplete option: ${name}`);
    options[key] = key === 'only' ? value.split(',') : key === 'runs' ? Number(value) : value;
    i += 1;
  }
  const odd = options.only.find((b) => !BENCHES.includes(b));
  if (odd !== undefined) throw new UsageError(`no measurement ${odd}`);
  options.runs ??= options.quick ? 3 : 5;
  if (!Number.isInteger(options.runs) || options.runs < 1) throw new UsageError('--runs needs a number from 1');
  return options;
}
