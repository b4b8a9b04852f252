// The virtual device: an address space of our own for content that the kernel cannot read where it lies.
// EROFS wants a file's bytes on block boundaries, in chunks of one size; the parts of a sparse file may
// lie anywhere in a tar. Such a file gets a stretch of the virtual device, on which its chunks do line up,
// and rows here say where the bytes really are. No byte is copied; between rows there are zeros.

/** A stretch of the virtual device that shows bytes of a layer's. */
export interface VirtualRow {
  readonly virtualOffset: number
  readonly length: number
  /** 0-based number of the layer's device. */
  readonly device: number
  readonly deviceOffset: number
}

export interface VirtualTable {
  /** Bytes of the virtual device; 0 where no file needs it. */
  readonly size: number
  readonly rowCount: number
  /** Gives a row; they ascend by `virtualOffset` and do not overlap. */
  row(index: number): VirtualRow
}

/** Gives the number of the first row that ends behind an offset, `rowCount` where there is none. */
export function firstRowBehind(table: VirtualTable, virtualOffset: number): number {
  let low = 0
  let high = table.rowCount
  while (low < high) {
    const middle = low + ((high - low) >>> 1)
    const row = table.row(middle)
    if (row.virtualOffset + row.length <= virtualOffset) low = middle + 1
    else high = middle
  }
  return low
}

/** Makes a table of rows held in memory, which must ascend and not overlap. */
export function virtualTable(size: number, rows: readonly VirtualRow[]): VirtualTable {
  return {
    size,
    rowCount: rows.length,
    row: (index) => {
      const row = rows[index]
      if (row === undefined)
        throw new RangeError(`a table of ${rows.length} rows has no row ${index}`)
      return row
    },
  }
}
