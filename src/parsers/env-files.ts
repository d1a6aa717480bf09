import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import type { EnvFile } from '../facts/settings.ts';

/** A shell-like value: quoted parts joined, escapes of double quotes undone, an unquoted ` #` begins a comment. */
function unquote(raw: string): string {
  let out = '';
  let quote = '';
  for (let i = 0; i < raw.length; i += 1) {
    const c = raw[i]!;
    if (quote === '' && (c === '"' || c === "'")) quote = c;
    else if (c === quote) quote = '';
    else if (c === '\\' && quote !== "'" && i + 1 < raw.length && (quote === '' || '"\\$`'.includes(raw[i + 1]!))) {
      i += 1;
      out += raw[i];
    } else if (quote === '' && c === '#' && i > 0 && /\s/.test(raw[i - 1]!)) break;
    else out += c;
  }
  return out.trimEnd();
}

/** KEY=value, `export KEY=value`; a backslash at the line's end goes on below. Understood beside them: blank lines and `#` or `;` comments. */
export function readEnvFile(text: string): Parsed<EnvFile> {
  const variables: EnvFile['variables'][number][] = [];
  const skipped: Skipped[] = [];
  const lines = text.replace(/^\uFEFF/, '').split('\n');
  for (let i = 0; i < lines.length; i += 1) {
    const line = i + 1;
    const parts = [lines[i]!.replace(/\r$/, '')];
    if (!/^\s*[#;]/.test(parts[0]!)) {
      while (parts[parts.length - 1]!.endsWith('\\') && i + 1 < lines.length) {
        parts[parts.length - 1] = parts[parts.length - 1]!.slice(0, -1);
        i += 1;
        parts.push(lines[i]!.replace(/\r$/, ''));
      }
    }
    const raw = parts.join('').trim();
    if (raw === '' || raw.startsWith('#') || raw.startsWith(';')) continue;
    const m = /^(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)=(.*)$/s.exec(raw);
    if (m === null) skipped.push({ line, why: 'no KEY=value' });
    else variables.push({ line, endLine: i + 1, name: m[1]!, value: unquote(m[2]!) });
  }
  if (variables.length === 0 && skipped.length > 0) return { ok: false, why: 'no KEY=value line' };
  return { ok: true, value: { variables }, skipped };
}

export const parsers = [
  defineParser({
    fact: 'dockerDefault',
    evidence: ['docker.default', 'docker.sysconfig'],
    version: 1,
    parse: readEnvFile,
  }),
  defineParser({ fact: 'kubeadmFlags', evidence: ['kubelet.kubeadm-flags'], version: 1, parse: readEnvFile }),
  defineParser({ fact: 'flannelEnv', evidence: ['flannel.subnet-env'], version: 1, parse: readEnvFile }),
];
