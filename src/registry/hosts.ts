// Which hosts are this machine, which must not be reached because a registry says so (checklist E-033, E-038, S-31).

import { lookup as dnsLookup, type LookupAddress, type LookupOptions } from 'node:dns'
import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net'

/** Tells whether a host, with or without a port, is this machine by its very name. */
export function isLoopbackHost(host: string): boolean {
  const name = hostName(host)
  return name === 'localhost' || name.endsWith('.localhost') || isLoopbackAddress(name)
}

/** Gives the name of a host without its port and without the brackets of an IPv6 address. */
export function hostName(host: string): string {
  const bracketed = /^\[([^\]]*)\](?::\d+)?$/.exec(host)
  if (bracketed !== null) return (bracketed[1] ?? '').toLowerCase()
  return (familyOf(host) === 'ipv6' ? host : host.replace(/:\d+$/, '')).toLowerCase()
}

/** Tells whether a host is an address in a network such as `10.0.0.0/8`; a name never is. */
export function isInNetwork(host: string, entry: string): boolean {
  const [network = '', bits = ''] = entry.split('/')
  const family = isIP(host)
  if (family === 0 || family !== isIP(network) || !/^\d{1,3}$/.test(bits)) return false
  if (Number(bits) > (family === 4 ? 32 : 128)) return false
  const list = new BlockList()
  const type = family === 4 ? 'ipv4' : 'ipv6'
  list.addSubnet(network, Number(bits), type)
  return list.check(host, type)
}

/**
 * Says why an address that a server sent us to is not to be contacted; undefined when it may be.
 *
 * Link-local addresses hold the metadata services of clouds and nothing that an image is stored on; this machine's own
 * services are no business of a registry that is not on it.
 */
export function refusedAddress(address: string, isFromLoopback: boolean): string | undefined {
  const family = familyOf(address)
  if (family === undefined) return undefined
  if (LINK_LOCAL.check(address, family)) return `${address} is a link-local address`
  if (!isFromLoopback && LOOPBACK.check(address, family)) return `${address} is this machine`
  return undefined
}

/** The same for a host that may be an address. */
export function refusedHost(host: string, isFromLoopback: boolean): string | undefined {
  const name = hostName(host)
  if (!isFromLoopback && isLoopbackHost(name)) return `${name} is this machine`
  return refusedAddress(name, isFromLoopback)
}

type LookupCallback = (
  error: NodeJS.ErrnoException | null,
  address: string | LookupAddress[],
  family?: number,
) => void

/** Resolves names as node:dns does, and refuses what {@link refusedAddress} refuses. */
export function guardedLookup(isFromLoopback: boolean) {
  return (host: string, options: LookupOptions, callback: LookupCallback): void => {
    dnsLookup(host, { ...options, all: true }, (error, addresses) => {
      if (error !== null) {
        callback(error, [])
        return
      }
      for (const { address } of addresses) {
        const why = refusedAddress(address, isFromLoopback)
        if (why !== undefined) {
          callback(Object.assign(new Error(why), { code: 'EREFUSED_ADDRESS' }), [])
          return
        }
      }
      const [first] = addresses
      if (options.all === true || first === undefined) callback(null, addresses)
      else callback(null, first.address, first.family)
    })
  }
}

function isLoopbackAddress(address: string): boolean {
  const family = familyOf(address)
  return family !== undefined && LOOPBACK.check(address, family)
}

/** As isIP() does, but the expression for IPv6, which takes 7 ms to compile, is left alone where it need not be asked. */
function familyOf(host: string): 'ipv4' | 'ipv6' | undefined {
  if (isIPv4(host)) return 'ipv4'
  const hasColons = host.includes(':', host.indexOf(':') + 1)
  return hasColons && isIPv6(host) ? 'ipv6' : undefined
}

const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4')
LOOPBACK.addSubnet('0.0.0.0', 8, 'ipv4')
LOOPBACK.addAddress('::1', 'ipv6')
LOOPBACK.addAddress('::', 'ipv6')
const LINK_LOCAL = new BlockList()
LINK_LOCAL.addSubnet('169.254.0.0', 16, 'ipv4')
LINK_LOCAL.addSubnet('fe80::', 10, 'ipv6')
// The metadata service of EC2 by IPv6 has an address of its own kind.
LINK_LOCAL.addAddress('fd00:ec2::254', 'ipv6')
