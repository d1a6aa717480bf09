import { shellWord } from '../core/shell.ts';
import type { Step } from './step.ts';

/** Write permission on the socket is all that a connection takes. */
export function shutSocket(path = '/run/docker.sock'): Step {
  const file = shellWord(path);
  return {
    step: 'Take the socket away from everybody but root and its group, and find what opened it: SocketMode of docker.socket, a chmod in a unit or a script.',
    run: `chmod o= ${file}`,
    verify: `stat -c %A ${file}   # ends with ---`,
    undo: `chmod o+rw ${file}`,
    risk: 'Users and jobs that are neither root nor in the group of the socket lose docker. Who is added to that group is root on the host as well.',
  };
}

/** A container that exists keeps its mounts: it is made again without. */
export function withoutMount(name = 'NAME'): Step {
  const container = shellWord(name);
  const mounts = `docker inspect --format '{{range .Mounts}}{{println .Source .Destination}}{{end}}' ${container}`;
  return {
    step: 'Create the container again without that mount. If it needs some of the API, give it a proxy in front of the socket that lets only those calls through; if it must have all of it, guard it like root’s own login.',
    run: mounts,
    verify: `${mounts}   # neither docker.sock nor a directory above it`,
    undo: 'create the container again with the mount',
    risk: 'What the container does through the API (start, watch, discover containers) stops until it has another way.',
  };
}

/** Of a container that docker does not know. */
export function foreignMount(id = 'ID'): Step {
  const inspect = `crictl inspect ${shellWord(id)} || podman inspect ${shellWord(id)}`;
  return {
    ...withoutMount(),
    run: inspect,
    verify: 'sudo sh netcase-collect.sh -o /tmp   # docker/socket-mounts.txt has no line of the container any more',
  };
}

export function withoutHostPath(): Step {
  const volumes =
    'kubectl get pods -A --field-selector spec.nodeName="$(hostname)" -o jsonpath=\'{range .items[*]}{.metadata.namespace}/{.metadata.name} {.spec.volumes[*].hostPath.path}{"\\n"}{end}\'';
  return {
    step: 'Take the hostPath volume out of the pods that can do without; keep the others in namespaces where few may use exec, or change the pods.',
    run: volumes,
    verify: `${volumes}   # neither docker.sock nor a directory above it`,
    undo: 'apply the manifest as it was',
    risk: 'The pods are started again; what they do through the API stops.',
  };
}
