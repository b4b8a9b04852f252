// How a value out of a document is shown in an error message.

import { escapeText } from '../byte-string.js'

/** Longest piece of a value that a message repeats; hostile documents hold values of megabytes. */
const MAX_SHOWN = 100

/** Puts text between double quotes, safe on a terminal and cut to a readable length. */
export function quote(text: string): string {
  const shown = text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text
  return `"${escapeText(shown)}"`
}
