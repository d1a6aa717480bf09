interface Identity {
  readonly machineIdSha256: string | null;
  readonly bootId: string | null;
}

/** Two bundles of one machine are no two nodes. */
export const isOneMachine = (a: Identity, b: Identity): boolean =>
  a.machineIdSha256 !== null && a.machineIdSha256 === b.machineIdSha256 && a.bootId === b.bootId;
