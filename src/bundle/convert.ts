// From an image's config to a runtime's (image-spec conversion.md; checklist group C).

import type { Conversion, ConversionInput } from './conversion.js'

/**
 * Makes the runtime config of an image.
 *
 * The same input gives the same output. What the image asks for and cannot have is a warning where the container can do
 * without it, else an error.
 *
 * @throws OcimountError `IMAGE_INVALID` for what the image's config gets wrong, `IMAGE_UNSUPPORTED` for another
 *   operating system (and with `mustStart` for another processor), `USER_NOT_FOUND`, `USAGE` for options that make no sense
 *   together or, with `mustStart`, no command; what reading `/etc/passwd` and `/etc/group` throws
 */
export declare function convertConfig(input: ConversionInput): Promise<Conversion>
