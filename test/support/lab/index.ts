/** Labs: real nodes in Linux namespaces, real packets, real faults. See lab.ts and docker.ts. */
export type { Outcome, ProbeResult, Protocol } from './agent.ts';
export { dockerLabsAvailable, labsAvailable } from './available.ts';
export {
  cniConfigShadowed,
  cniNotReady,
  flannelBackendMixed,
  flannelSubnetEnvMissing,
  hostGwAcrossRouter,
} from './cni-faults.ts';
export * from './dns-faults.ts';
export { type Container, type ContainerSpec, DockerLab, type DockerLabSpec } from './docker.ts';
export * from './docker-faults.ts';
export * from './faults.ts';
export * from './flannel-faults.ts';
export * from './ipv6-faults.ts';
export * from './kubelet-faults.ts';
export { Lab, type Probe } from './lab.ts';
export {
  defaultRouteMissing,
  duplicateNodeAddress,
  duplicatePodAddress,
  overlayTrafficMasqueraded,
  podLinkBroken,
  snatSourceUnexpected,
  TWO_PODS,
} from './link-faults.ts';
export * from './look-alikes.ts';
export type { LabNode, LabPod } from './node.ts';
export * from './path-faults.ts';
export { probePatiently } from './patient.ts';
export type { Place, Ran } from './place.ts';
export * from './port-faults.ts';
export * from './routing-faults.ts';
export * from './service-faults.ts';
export type { Backend, IptablesBackend, LabPlan, LabSpec, NodePlan, NodeSpec, ServiceSpec } from './spec.ts';
