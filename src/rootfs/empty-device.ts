import type { LayerDevice } from '../layer/device.js'

/** The device of a layer without bytes. Nothing of the tree points into it. */
export const EMPTY_DEVICE: LayerDevice = {
  size: 0,
  read: (target) =>
    target.length === 0
      ? Promise.resolve()
      : Promise.reject(new RangeError('read behind the end of an empty device')),
  native: () => ({ kind: 'memory', size: 0, bytes: Buffer.alloc(0) }),
  close: () => Promise.resolve(),
}
