import type { EnvFile, Fact, ProcessArgs, Setting, Settings, Sysctls } from '../facts/index.ts';

/** A value and the line it stands on. */
export interface Placed<T> {
  readonly value: T;
  readonly line: number;
}

const sysctlIndex = new WeakMap<Sysctls, Map<string, { readonly value: string; readonly line: number }>>();

/** A sysctl by its path form, as net/ipv4/conf/flannel.1/rp_filter; the last line of a key wins. */
export function sysctl(fact: Fact<'sysctl'> | Fact<'netnsSysctl'>, key: string): Placed<string> | undefined {
  let index = sysctlIndex.get(fact.value);
  if (index === undefined) {
    index = new Map(fact.value.values.map((v) => [v.key, v]));
    sysctlIndex.set(fact.value, index);
  }
  return index.get(key);
}

/** KEY=value of an environment file; the last assignment wins. */
export function variable(env: EnvFile, name: string): Placed<string> | undefined {
  return env.variables.findLast((v) => v.name === name);
}

/** The last occurrence of a flag over all processes of a daemon; names are tried in order (`cgroup-driver`). */
export function flag(args: ProcessArgs, ...names: readonly string[]): Placed<string> | undefined {
  for (const process of args.processes) {
    const hit = process.flags.findLast((f) => names.includes(f.name));
    if (hit !== undefined) return hit;
  }
  return undefined;
}

/** Every occurrence of a repeatable flag. */
export function flags(args: ProcessArgs, ...names: readonly string[]): readonly Placed<string>[] {
  return args.processes.flatMap((process) => process.flags.filter((f) => names.includes(f.name)));
}

export function setting(settings: Settings, path: string): Setting | undefined {
  return settings.settings.find((s) => s.path === path);
}

/** Elements of an array setting, as `hosts.0`, `hosts.1`. */
export function elements(settings: Settings, path: string): readonly Setting[] {
  return settings.settings.filter((s) => s.path.startsWith(`${path}.`) && /^\d+$/.test(s.path.slice(path.length + 1)));
}
