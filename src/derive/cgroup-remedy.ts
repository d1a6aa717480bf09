import { shellWord } from '../core/shell.ts';
import type { DriverChoice } from './cgroup-driver.ts';
import { setInDaemonJson } from './daemon-json-edit.ts';
import type { Source } from './devices.ts';
import { elements, flag } from './settings.ts';
import type { Step } from './step.ts';

type Kinds = 'daemonJson' | 'dockerdArgs' | 'kubeletArgs';

const DRIVER = 'native.cgroupdriver=';
const DRAIN = 'Drain the node first: kubectl drain <node> --ignore-daemonsets.';
const RISK = 'Every container of the node restarts.';

/** For a node of which nothing but the fault is known. */
export const BOTH_SYSTEMD: Step = {
  step: `Use systemd on both sides: the runtime’s setting is "exec-opts" in daemon.json or SystemdCgroup in containerd’s config.toml, the kubelet’s is cgroupDriver in its config file. ${DRAIN} Restart the runtime and then the kubelet.`,
  run: 'grep -n -e exec-opts -e SystemdCgroup -e cgroupDriver /etc/docker/daemon.json /etc/containerd/config.toml /var/lib/kubelet/config.yaml',
  verify: 'docker info | grep -i "cgroup driver"; systemctl is-active kubelet',
  undo: 'restore the old files and restart runtime and kubelet',
  risk: RISK,
};

/** Puts the side that is not on systemd there, by the line that says so; null: where it is set is not known so well. */
export function driverRemedy(source: Source<Kinds>, kubelet: DriverChoice, runtime: DriverChoice): Step | null {
  if (runtime.driver === 'systemd') return kubeletRemedy(source, kubelet);
  return runtime.name === 'docker' ? dockerRemedy(source) : containerdRemedy(runtime);
}

function dockerRemedy(source: Source<Kinds>): Step | null {
  const args = source.get('dockerdArgs');
  const flagged = args.missing
    ? undefined
    : args.value.processes.flatMap((p) => p.flags).find((f) => f.name === 'exec-opt' && f.value.startsWith(DRIVER));
  const verify = "docker info -f '{{.CgroupDriver}}'; systemctl is-active kubelet";
  if (flagged !== undefined)
    return {
      step: `dockerd has its driver from --exec-opt=${flagged.value} on its command line. Change it where that line is made to ${DRIVER}systemd, and restart docker and then the kubelet; with "exec-opts" in daemon.json as well dockerd would refuse to start. ${DRAIN}`,
      run: `systemctl cat docker | grep -n -e ${DRIVER} -e EnvironmentFile`,
      verify,
      undo: `put ${shellWord(`--exec-opt=${flagged.value}`)} back and restart docker and the kubelet`,
      risk: RISK,
    };
  const file = source.get('daemonJson');
  const others = (file.missing ? [] : elements(file.value, 'exec-opts')).flatMap(({ value }) =>
    typeof value === 'string' && !value.startsWith(DRIVER) ? [value] : [],
  );
  if (others.some((o) => o.includes("'"))) return null;
  const { run, undo } = setInDaemonJson({ 'exec-opts': [...others, `${DRIVER}systemd`] }, source);
  return {
    step: `Put docker on systemd, as the kubelet is ("exec-opts" in daemon.json; its other keys stay). ${DRAIN}`,
    run: `${run} && systemctl restart kubelet`,
    verify,
    undo: `${undo} && systemctl restart kubelet`,
    risk: RISK,
  };
}

function containerdRemedy({ cites: [place] }: DriverChoice): Step | null {
  // where the file says nothing, what its runtime needs besides is not known; of a merged configuration the file is not
  if (place === undefined || !('fact' in place) || place.fact.kind !== 'containerdConfig') return null;
  const file = place.fact.path.replace(/^files/, '');
  return {
    step: `Put containerd on systemd, as the kubelet is (line ${place.span.line} of ${file}). ${DRAIN}`,
    run: `f=${file}; cp -a $f $f.before && sed -i '${place.span.line}s/SystemdCgroup *= *false/SystemdCgroup = true/' $f && systemctl restart containerd && systemctl restart kubelet`,
    verify: `grep -n SystemdCgroup ${file}; systemctl is-active containerd kubelet`,
    undo: `f=${file}; mv $f.before $f && systemctl restart containerd && systemctl restart kubelet`,
    risk: RISK,
  };
}

function kubeletRemedy(source: Source<Kinds>, { cites: [place] }: DriverChoice): Step | null {
  if (place === undefined) return null;
  const args = source.get('kubeletArgs');
  // without --config a file would not be read
  if (!('fact' in place) && place.absence.evidence !== 'kubelet.config') return null;
  const config = shellWord(
    (args.missing ? undefined : flag(args.value, 'config')?.value) ?? '/var/lib/kubelet/config.yaml',
  );
  const verify = `grep -n cgroupDriver ${config}; systemctl is-active kubelet`;
  if ('fact' in place && place.fact.kind !== 'kubeletConfig')
    return {
      step: `The kubelet has its driver from --cgroup-driver=cgroupfs on its command line, which beats its config file. Change it where that line is made to systemd, and restart the kubelet. ${DRAIN}`,
      run: 'grep -sn cgroup-driver /var/lib/kubelet/kubeadm-flags.env /etc/default/kubelet /etc/sysconfig/kubelet; systemctl cat kubelet | grep -n cgroup-driver',
      verify: 'tr "\\0" "\\n" < /proc/$(pidof kubelet)/cmdline | grep cgroup-driver; systemctl is-active kubelet',
      undo: 'put --cgroup-driver=cgroupfs back and restart the kubelet',
      risk: RISK,
    };
  const edit =
    'fact' in place
      ? `sed -i '${place.span.line}s/cgroupfs/systemd/' $f`
      : "grep -q '^cgroupDriver:' $f || printf '\\ncgroupDriver: systemd\\n' >> $f";
  return {
    step: `Put the kubelet on systemd, as the runtime is (cgroupDriver in ${config}). ${DRAIN}`,
    run: `f=${config}; cp -a $f $f.before && { ${edit}; } && systemctl restart kubelet`,
    verify,
    undo: `f=${config}; mv $f.before $f && systemctl restart kubelet`,
    risk: RISK,
  };
}
