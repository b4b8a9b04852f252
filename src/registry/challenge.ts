// The header WWW-Authenticate (RFC 9110 section 11.6.1): several headers, several challenges in one, quoted strings with
// escapes and commas (checklist E-070).

/** One way in that a server offers. */
export interface Challenge {
  /** In lower case. */
  readonly scheme: string
  /** Names in lower case; the first of a repeated one counts. */
  readonly parameters: ReadonlyMap<string, string>
}

/** Parses all headers of that name. What cannot be understood ends the reading of its header. */
export function parseChallenges(headers: readonly string[]): Challenge[] {
  return headers.flatMap((header) => [...parseHeader(header.slice(0, MAX_HEADER))])
}

function* parseHeader(header: string): Iterable<Challenge> {
  let rest = header
  let current: { scheme: string; parameters: Map<string, string> } | undefined
  for (;;) {
    rest = rest.replace(/^[\s,]+/, '')
    const parameter = PARAMETER.exec(rest)
    if (parameter !== null && current !== undefined) {
      const [whole, name = '', quoted, token] = parameter
      const value = quoted === undefined ? (token ?? '') : quoted.replace(/\\(.)/gs, '$1')
      const key = name.toLowerCase()
      if (!current.parameters.has(key)) current.parameters.set(key, value)
      rest = rest.slice(whole.length)
      continue
    }
    if (current !== undefined) yield current
    const scheme = SCHEME.exec(rest)
    if (scheme === null) return
    current = { scheme: (scheme[1] ?? '').toLowerCase(), parameters: new Map() }
    rest = rest.slice(scheme[0].length).replace(TOKEN68, '')
  }
}

const MAX_HEADER = 16 * 1024
const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
const PARAMETER = new RegExp(
  `^(${TOKEN})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|(${TOKEN}))(?=\\s*(?:,|$))`,
)
const SCHEME = new RegExp(`^(${TOKEN})(?=\\s|,|$)`)
/** What Negotiate and NTLM send in place of parameters. */
const TOKEN68 = /^\s+[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$))/
