// Loaded by a process that waits for its function: see identity.cjs.
export const ready = true;
