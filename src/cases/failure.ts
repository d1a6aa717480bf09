/** A failure that the user can do something about: what, where, what to do. */
export class Failure extends Error {
  readonly kind: 'usage' | 'refused' | 'damaged' | 'locked' | 'io' | 'internal';
  constructor(kind: Failure['kind'], message: string) {
    super(message);
    this.name = 'Failure';
    this.kind = kind;
  }
}

export function isFailure(error: unknown): error is Failure {
  return error instanceof Failure;
}
