// What a source reads at most, before it has verified anything. Limits of single documents are in image/limits.ts.

/** How deep indexes may nest; real images need two levels (checklist A-086). */
export const MAX_INDEX_DEPTH = 8

/** Manifests under one name, nested indexes included; the widest public images list some dozens. */
export const MAX_INDEX_ENTRIES = 4096

/** Bytes of all documents that one source reads, so that many large indexes do not add up (S-15). */
export const MAX_TOTAL_DOCUMENT_BYTES = 128 * 1024 * 1024

/** Layers of one image; Docker stops at 127. */
export const MAX_LAYERS = 1024

/** Members of an image archive: 4 a layer, some thousands of images in one archive. */
export const MAX_ARCHIVE_ENTRIES = 500_000

/** Symbolic and hard links that one name may lead through, as the kernel counts them (ELOOP). */
export const MAX_LINKS = 40

/** Standard input that is spooled to the cache, after decompression. */
export const MAX_SPOOLED_BYTES = 64 * 1024 ** 3

/** A compressed archive after decompression. */
export const MAX_DECODED_BYTES = 256 * 1024 ** 3

/** Candidates that an error message names; its details hold all of them. */
export const MAX_LISTED = 20
