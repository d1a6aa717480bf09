import type { Container } from './assemble.ts';
import { gunzipStream, gunzipWhole, isGzip } from './gunzip.ts';
import { readHeader } from './header.ts';
import type { Limits, Problems } from './model.ts';
import { Refusal } from './model.ts';
import type { Source } from './source.ts';
import type { TarContent } from './tar.ts';
import { TarReader } from './tar.ts';

const OTHERS: readonly (readonly [string, string])[] = [
  ['fd377a585a00', 'xz'],
  ['28b52ffd', 'zstd'],
  ['425a68', 'bzip2'],
  ['504b0304', 'zip'],
  ['377abcaf271c', '7z'],
  ['52617221', 'rar'],
];

/** Reads one .tar.gz or .tar into memory, never to disk. Throws Refusal; damage is in the problems and `broken`. */
export async function readArchive(
  source: Source,
  name: string,
  limits: Limits,
  problems: Problems,
): Promise<Container> {
  const gzip = isGzip(source.head);
  const tar = new TarReader(limits, problems);
  let end: 'whole' | 'truncated' | 'damaged' = 'whole';
  let archive: Container['archive'] = null;
  if (!gzip) {
    refuseOthers(source.head);
    if (source.whole !== null) tar.push(source.whole);
    else for (const chunk of source.chunks()) tar.push(chunk);
  } else {
    const whole = gunzipWhole(source, limits);
    if (whole !== null) {
      tar.push(whole);
      archive = { gz: source.whole as Buffer, plain: whole };
    } else ({ end } = await gunzipStream(source, limits, problems, (chunk) => tar.push(chunk)));
  }
  const content = tar.finish();
  report(end, content, problems);
  if (content.members.length === 0 && (end !== 'whole' || content.cut))
    throw new Refusal(
      'nothing-readable',
      'The archive is cut or damaged before its first whole file; send the bundle again.',
    );
  return {
    source: name,
    folder: false,
    sha256: source.sha256(),
    size: source.size,
    broken: end !== 'whole' || content.cut,
    checksummed: gzip && end === 'whole',
    files: content.members,
    archive,
  };
}

function refuseOthers(head: Buffer): void {
  const hex = head.toString('hex', 0, 6);
  const other = OTHERS.find(([magic]) => hex.startsWith(magic));
  if (other !== undefined)
    throw new Refusal(
      'unsupported-format',
      `The input is a ${other[1]} file; netcase reads .tar.gz and .tar. Unpack it and give netcase what is inside.`,
    );
  if (head.length < 512 || readHeader(head, 0).kind === 'bad')
    throw new Refusal(
      'not-an-archive',
      'The input is neither a .tar.gz nor a .tar (or its first bytes are damaged); give netcase the file that netcase-collect.sh wrote.',
    );
}

function report(end: 'whole' | 'truncated' | 'damaged', content: TarContent, problems: Problems): void {
  const rest = 'Whatever can be checked is used, nothing counts as absent; send the bundle again.';
  if (end === 'truncated')
    problems.add('high', 'truncated', `The compressed file ends too early: a partial upload. ${rest}`);
  else if (end === 'damaged')
    problems.add('high', 'damaged', `The compressed data is damaged: its checksum fails. ${rest}`);
  else if (content.cut) problems.add('high', 'truncated', `The tar has no end-of-archive marker: it is cut. ${rest}`);
  const cut = content.members.find((m) => m.cut);
  if (cut !== undefined)
    problems.add('medium', 'cut-member', `The archive ends inside "${cut.path}".`, { path: cut.path });
}
