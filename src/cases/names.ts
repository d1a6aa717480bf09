/** The name that a node's bundles give it, without the part that keeps it from another one of that name. */
export const baseName = (node: string): string => node.replace(/@[0-9a-f]{6}$/, '');
