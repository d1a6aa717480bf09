import { defineParser, type Parsed } from '../facts/parser.ts';
import type { ProcessArgs } from '../facts/settings.ts';

type Process = ProcessArgs['processes'][number];
type Arg = Process['argv'][number];

/** `--name=value`, `--name value`, `-H value`, `-Hfd://`, flannel's `-iface=x`. A name before the next flag, or at the end, is a switch. */
function readFlags(argv: readonly Arg[]): Process['flags'] {
  const flags: Process['flags'][number][] = [];
  for (let i = 1; i < argv.length; i += 1) {
    const arg = argv[i]!;
    if (arg.text === '--') break;
    const m = /^--?([A-Za-z][\w.-]*)(?:=(.*))?$/s.exec(arg.text);
    if (m === null) {
      const joined = /^-([A-Za-z])((?:tcp|unix|fd):\/\/.*)$/s.exec(arg.text);
      if (joined !== null) flags.push({ line: arg.line, name: joined[1]!, value: joined[2]! });
      continue;
    }
    const next = argv[i + 1];
    if (m[2] !== undefined) flags.push({ line: arg.line, name: m[1]!, value: m[2] });
    else if (next === undefined || /^-[^\d]/.test(next.text))
      flags.push({ line: arg.line, name: m[1]!, value: 'true' });
    else {
      flags.push({ line: arg.line, endLine: next.line ?? arg.line, name: m[1]!, value: next.text });
      i += 1;
    }
  }
  return flags;
}

const PROGRAM =
  /^(?:\/\S*\/)?(?:dockerd[\w-]*|docker|kubelet|kube-proxy|hyperkube|kubelite|k3s[\w-]*|rke2[\w-]*|flanneld?|containerd|crio|cri-dockerd)$/;

/** A command line in one piece: as /proc has it, with NULs, or as ps and people write it, behind whatever columns. null: it is one argument. */
function words(raw: string): readonly string[] | null {
  if (raw.includes('\0')) return raw.replace(/\0$/, '').split('\0');
  const all = raw.trim().split(/\s+/);
  const start = all.findIndex((word) => PROGRAM.test(word));
  return start >= 0 && start + 1 < all.length ? all.slice(start) : null;
}

/** Every line a process of its own; null: the text has one argument a line. */
function readCommandLines(lines: readonly string[]): Process[] | null {
  const found = lines.map(words);
  const first = lines.findIndex((raw) => raw.trim() !== '' && !/^\s*(?:UID|USER|PID)\s/.test(raw));
  if ((found[first] ?? null) === null) return null;
  return found.flatMap((all, i) => {
    const line = i + 1;
    const argv = (all ?? []).map((text) => ({ line, text }));
    return argv.length === 0 ? [] : [{ line, endLine: line, argv, flags: readFlags(argv) }];
  });
}

/**
 * The collector: one argument a line; processes apart by `# pid N` or an empty line. An empty line before a flag is an empty argument (`--containerd ''`),
 * as it is wherever `# pid` lines do the parting.
 */
function readArgs(text: string): Parsed<ProcessArgs> {
  const lines = text
    .replace(/^\uFEFF/, '')
    .split('\n')
    .map((raw) => raw.replace(/\r$/, ''));
  const whole = readCommandLines(lines);
  if (whole !== null) return { ok: true, value: { processes: whole }, skipped: [] };
  const marked = lines.some((raw) => /^# pid \d+\s*$/.test(raw));
  const processes: Process[] = [];
  let argv: Arg[] = [];
  let pid: number | undefined;
  let blanks: number[] = [];
  const close = () => {
    if (argv.length > 0) {
      processes.push({
        line: argv[0]!.line,
        endLine: argv[argv.length - 1]!.line,
        ...(pid === undefined ? {} : { pid }),
        argv,
        flags: readFlags(argv),
      });
    }
    [argv, pid, blanks] = [[], undefined, []];
  };
  for (const [i, raw] of lines.entries()) {
    const line = i + 1;
    const mark = /^# pid (\d{1,10})\s*$/.exec(raw);
    if (mark !== null) {
      close();
      pid = Number(mark[1]);
    } else if (raw.trim() === '') {
      if (argv.length > 0) blanks.push(line);
    } else {
      if (blanks.length > 0 && !marked && !raw.startsWith('-')) close();
      for (const blank of blanks) argv.push({ line: blank, text: '' });
      blanks = [];
      argv.push({ line, text: raw });
    }
  }
  close();
  return { ok: true, value: { processes }, skipped: [] };
}

export const parsers = [
  defineParser({ fact: 'dockerdArgs', evidence: ['docker.cmdline'], version: 2, parse: readArgs }),
  defineParser({ fact: 'kubeletArgs', evidence: ['kubelet.cmdline'], version: 1, parse: readArgs }),
  defineParser({ fact: 'kubeProxyArgs', evidence: ['kubelet.cmdline-kube-proxy'], version: 1, parse: readArgs }),
  defineParser({
    fact: 'k3sArgs',
    evidence: ['kubelet.cmdline-k3s', 'kubelet.cmdline-rke2'],
    version: 1,
    parse: readArgs,
  }),
  defineParser({ fact: 'containerdArgs', evidence: ['cri.cmdline-containerd'], version: 1, parse: readArgs }),
  defineParser({ fact: 'crioArgs', evidence: ['cri.cmdline-crio'], version: 1, parse: readArgs }),
  defineParser({ fact: 'criDockerdArgs', evidence: ['cri.cmdline-cri-dockerd'], version: 1, parse: readArgs }),
  defineParser({ fact: 'flanneldArgs', evidence: ['flannel.cmdline'], version: 1, parse: readArgs }),
];
