import { shellWord } from '../core/shell.ts';
import type { Source } from './devices.ts';
import { flag } from './settings.ts';

/** A change of a node's configuration as commands, and what takes it back. */
interface Commands {
  readonly run: string;
  readonly undo: string;
}

type Keys = Readonly<Record<string, unknown>>;

const RESTART = 'systemctl restart docker';
/** Where dockerd reads it: another place only by --config-file, as the snap has it. */
const DEFAULT_PATH = '/etc/docker/daemon.json';

const MERGE =
  'import json,os,sys; f,new=sys.argv[1:]; d=json.load(open(f)) if os.path.exists(f) else {}; d.update(json.loads(new)); open(f,"w").write(json.dumps(d,indent=2)+"\\n")';

/**
 * Sets keys of daemon.json, keeps all others, and restarts docker; the old file stays beside it as what takes the change back. A file that is
 * no JSON is left as it is. `back`: what taking it back has to say because dockerd would not go back by itself. Values must not hold a single quote.
 */
export function setInDaemonJson(
  keys: Keys,
  source: Source<'daemonJson' | 'dockerdArgs'> | null,
  back: Keys | null = null,
): Commands {
  const args = source?.get('dockerdArgs');
  const path = (args?.missing === false ? flag(args.value, 'config-file')?.value : undefined) ?? DEFAULT_PATH;
  const file = shellWord(path);
  const fact = source?.get('daemonJson');
  const write = (of: Keys) => `echo '${JSON.stringify(of)}' > ${file}`;
  if (fact?.missing === true && fact.lookedFor)
    return {
      run: `mkdir -p ${shellWord(path.replace(/\/[^/]*$/, ''))} && ${write(keys)} && ${RESTART}`,
      undo: `${back === null ? `rm ${file}` : write(back)} && ${RESTART}`,
    };
  const there = fact?.missing === false;
  const copy = there ? 'cp -a $f $f.before' : '{ [ ! -e $f ] || cp -a $f $f.before; }';
  const restore = there ? 'mv $f.before $f' : 'if [ -e $f.before ]; then mv $f.before $f; else rm $f; fi';
  const merge = (of: Keys) => `python3 -c '${MERGE}' $f '${JSON.stringify(of)}'`;
  return {
    run: `f=${file}; ${copy} && ${merge(keys)} && ${RESTART}`,
    undo: `f=${file}; ${restore} && ${back === null ? '' : `${merge(back)} && `}${RESTART}`,
  };
}
