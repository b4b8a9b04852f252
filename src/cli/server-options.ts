// How the serving process is started. It lives for as long as its mount, and indexing is over in its first second: neither the
// engine nor the C library may keep what that took.

/**
 * The engine never gives back pages of its young generation, 24 MB where it may have 16 MiB twice; 4 MiB cost indexing nothing
 * that could be measured.
 *
 * No other flag made a first mount faster. Listing, merging and writing a Debian image of 17,650 entries took 0.37 to 0.39 s with these,
 * and 0.37 to 0.45 s with each of: a young generation of 4 MiB from the beginning, collecting it in one thread, optimising sooner, with no
 * baseline or one compiled aside. Medians of 7 to 12 new processes on a busy machine. It is code that has never run: the second time in
 * a process listing took half as long, and merging less. Without any optimising the first mount of its gzip form took 2.5 s instead of 2.2.
 */
export const SERVER_FLAGS: readonly string[] = ['--max-semi-space-size=4']

/**
 * The C library raises both thresholds, in bytes, to the size of what is freed, and malloc_trim(3) passes over the end of every
 * arena but the first: the first mount of 300,000 entries kept 35 MB there. Thresholds that are given stay.
 */
const SERVER_ENVIRONMENT: Readonly<Record<string, string>> = {
  MALLOC_TRIM_THRESHOLD_: '1048576',
  MALLOC_MMAP_THRESHOLD_: '4194304',
}

const EXTRA_AUTHORITIES = 'NODE_EXTRA_CA_CERTS'
const SET_ASIDE = 'OCIMOUNT_NODE_EXTRA_CA_CERTS'

/**
 * Gives the environment of the serving process. Node.js reads the certificate authorities that `NODE_EXTRA_CA_CERTS` names before
 * anything else, which for a distribution's whole bundle takes 100 ms of a start of 150, and most mounts speak no TLS: the name is set
 * aside until it has started, and src/registry/tls.ts reads the file when it has to.
 */
export function serverEnvironment(own: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { [EXTRA_AUTHORITIES]: extra, ...rest } = own
  return {
    ...{ ...SERVER_ENVIRONMENT, ...rest },
    ...(extra === undefined ? {} : { [SET_ASIDE]: extra }),
  }
}

/** Puts the name back in the serving process, for the programs that it starts. */
export function restoreEnvironment(env: NodeJS.ProcessEnv): void {
  const extra = env[SET_ASIDE]
  if (extra === undefined) return
  env[EXTRA_AUTHORITIES] = extra
  Reflect.deleteProperty(env, SET_ASIDE)
}
