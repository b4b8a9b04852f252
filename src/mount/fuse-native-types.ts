// What we use of the npm package `fuse-native` 2.2.6, which has no types of its own. Its handlers are methods
// named `_op_…`; replacing them is the only way to see the caller's buffer in getxattr and listxattr and to answer
// without an object per call.

/** Answers a call: the result or a negative errno, then what the operation carries. To be called exactly once. */
export type Signal = (result: number, ...payload: unknown[]) => void

/** The members of a `Fuse` object that a server needs. */
export interface FuseBase {
  open(callback: (error: Error | null | undefined) => void): void
  close(callback: (error: Error | null | undefined) => void): void
}

/** The class that the package exports. */
export interface FuseClass {
  /** Only the operations named in `operations` are registered with libfuse, those whose value is true. */
  new (
    mountpoint: string,
    operations: Readonly<Record<string, true>>,
    options: { readonly timeout: false },
  ): FuseBase
  unmount: (mountpoint: string, callback: (error: Error | null) => void) => void
}
