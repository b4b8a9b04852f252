// Shows the registry what it wants to see (checklist E-070 to E-077): nothing until it asks, then a token of the server that it
// names, or name and password. A token is fetched once for all who wait for it, and again shortly before it ends.

import { escapeText } from '../byte-string.js'
import type { Credentials } from './auth-file.js'
import { parseChallenges, type Challenge } from './challenge.js'
import { isLoopbackHost } from './hosts.js'
import { protocolError, RegistryError } from './registry-error.js'
import { withRetries, type RetryPolicy } from './retry.js'
import { responseError } from './response-error.js'
import { discard, readBody, type HttpResponse, type Transport } from './transport.js'

export interface AuthorizerOptions {
  readonly transport: Transport
  /** Host of the registry, for messages and for what its word is worth. */
  readonly host: string
  readonly retries: RetryPolicy
  readonly skipVerify: boolean
  /** Asked once, when the registry wants to know. */
  readonly credentials: () => Promise<Credentials | undefined>
}

interface Token {
  readonly value: string
  /** By performance.now(). */
  readonly staleAtMs: number
}

/** The state of being known to one registry. */
export class Authorizer {
  readonly #options: AuthorizerOptions
  #challenge: Challenge | undefined
  #credentials: Promise<Credentials | undefined> | undefined
  readonly #tokens = new Map<string, Promise<Token>>()

  constructor(options: AuthorizerOptions) {
    this.#options = options
  }

  /** Gives the value of `Authorization` for the next request; undefined while the registry asked for none. */
  async header(scope: string, signal?: AbortSignal): Promise<string | undefined> {
    const challenge = this.#challenge
    if (challenge === undefined) return undefined
    if (challenge.scheme === 'basic') return this.#basic()
    const credentials = await this.#load()
    if (credentials?.kind === 'bearer') return `Bearer ${credentials.token}`
    const key = challenge.parameters.get('scope') ?? scope
    let token = await this.#token(key, challenge, signal)
    if (performance.now() >= token.staleAtMs) {
      this.#tokens.delete(key)
      token = await this.#token(key, challenge, signal)
    }
    return `Bearer ${token.value}`
  }

  /**
   * Learns from an answer 401. Gives false when asking again is no use: what was shown was the best there is.
   *
   * @param shown the value that the refused request had
   * @throws RegistryError `REGISTRY_UNAVAILABLE` for a challenge that cannot be met
   */
  async learn(response: HttpResponse, shown: string | undefined): Promise<boolean> {
    const challenges = parseChallenges(response.headers('www-authenticate'))
    const wanted =
      challenges.find(({ scheme }) => scheme === 'bearer') ??
      challenges.find(({ scheme }) => scheme === 'basic')
    if (wanted === undefined) return false
    const isOther = !isSame(wanted, this.#challenge)
    this.#challenge = wanted
    if (wanted.scheme === 'basic') {
      return (shown === undefined || isOther) && (await this.#basic()) !== undefined
    }
    // A token that ended early, was revoked, or is good for something else; another request may have replaced it already.
    for (const [key, token] of this.#tokens) {
      const known = await token.catch(() => undefined)
      if (known !== undefined && `Bearer ${known.value}` === shown) this.#tokens.delete(key)
    }
    return (await this.#load())?.kind !== 'bearer' || shown === undefined
  }

  /** Tells whether there is anything to show beside being nobody. */
  async hasCredentials(): Promise<boolean> {
    return (await this.#load()) !== undefined
  }

  async #basic(): Promise<string | undefined> {
    const credentials = await this.#load()
    if (credentials?.kind !== 'password') return undefined
    return basicHeader(credentials)
  }

  #load(): Promise<Credentials | undefined> {
    return (this.#credentials ??= this.#options.credentials())
  }

  #token(scope: string, challenge: Challenge, signal?: AbortSignal): Promise<Token> {
    const known = this.#tokens.get(scope)
    if (known !== undefined) return known
    const token = this.#fetchToken(scope, challenge, signal)
    this.#tokens.set(scope, token)
    token.catch(() => {
      if (this.#tokens.get(scope) === token) this.#tokens.delete(scope)
    })
    return token
  }

  async #fetchToken(scope: string, challenge: Challenge, signal?: AbortSignal): Promise<Token> {
    const realm = this.#realmOf(challenge)
    const credentials = await this.#load()
    const service = challenge.parameters.get('service')
    return withRetries(this.#options.retries, signal, async () => {
      if (credentials?.kind === 'identity') {
        const token = await this.#exchange(realm, credentials.token, { service, scope }, signal)
        if (token !== undefined) return token
      }
      const url = new URL(realm)
      if (service !== undefined) url.searchParams.set('service', service)
      for (const part of scope.split(' ').filter(Boolean)) url.searchParams.append('scope', part)
      const headers: Record<string, string> = { accept: 'application/json' }
      if (credentials?.kind === 'password') {
        url.searchParams.set('account', credentials.username)
        headers['authorization'] = basicHeader(credentials)
      }
      return this.#request(url, { headers, signal })
    })
  }

  /** Exchanges an identity token; undefined where the server does not know that way (checklist E-073). */
  async #exchange(
    realm: URL,
    identity: string,
    { service, scope }: { service: string | undefined; scope: string },
    signal?: AbortSignal,
  ): Promise<Token | undefined> {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: identity,
      client_id: 'ocimount',
      scope,
      ...(service === undefined ? {} : { service }),
    })
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    try {
      return await this.#request(realm, { headers, body: form.toString(), signal })
    } catch (error) {
      if (error instanceof RegistryError && (error.status === 404 || error.status === 405)) {
        return undefined
      }
      throw error
    }
  }

  async #request(
    url: URL,
    {
      headers,
      body,
      signal,
    }: {
      headers: Readonly<Record<string, string>>
      body?: string
      signal?: AbortSignal | undefined
    },
  ): Promise<Token> {
    const { transport, host, skipVerify } = this.#options
    const what = `get a token for ${escapeText(host)} from ${escapeText(url.host)}`
    const startMs = performance.now()
    const isOwn = url.host === host
    const response = await transport.send({
      ...{ url, what, headers, signal, body, skipVerify },
      method: body === undefined ? 'GET' : 'POST',
      chosenBy: isOwn ? undefined : { isLoopback: isLoopbackHost(host) },
    })
    if (response.status !== 200) {
      if (response.status >= 300 && response.status < 400) {
        discard(response)
        throw protocolError(what, `it answers with status ${response.status}`)
      }
      throw await responseError(response, what)
    }
    const answer = parseToken(await readBody(response, MAX_ANSWER))
    if (answer === undefined) throw protocolError(what, 'its answer holds no token')
    return { value: answer.token, staleAtMs: startMs + answer.lifeSeconds * 900 }
  }

  /** Only a registry that is itself reached in the clear may send its user's password over the wire in the clear. */
  #realmOf({ parameters }: Challenge): URL {
    const { host } = this.#options
    const text = parameters.get('realm') ?? ''
    const what = `get a token for ${escapeText(host)}`
    const realm = URL.canParse(text) ? new URL(text) : undefined
    if (realm?.protocol !== 'https:' && realm?.protocol !== 'http:') {
      throw protocolError(what, 'it does not say where')
    }
    if (realm.username !== '' || realm.password !== '') {
      throw protocolError(what, 'the address that it names holds a password')
    }
    if (realm.protocol === 'http:' && !isLoopbackHost(realm.host) && !this.#options.skipVerify) {
      throw protocolError(what, `${escapeText(realm.host)} is not reached by https`)
    }
    return realm
  }
}

/** Reads the answer of a token server; a life that is not given is that of the specification. */
function parseToken(body: Buffer | undefined): { token: string; lifeSeconds: number } | undefined {
  if (body === undefined) return undefined
  try {
    const answer = JSON.parse(body.toString('utf8')) as Record<string, unknown>
    const token = answer['token'] ?? answer['access_token']
    if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) return undefined
    const life = answer['expires_in']
    const isLife = typeof life === 'number' && life >= 1
    return { token, lifeSeconds: isLife ? Math.min(life, MAX_LIFE_S) : DEFAULT_LIFE_S }
  } catch {
    return undefined
  }
}

function basicHeader({ username, password }: { username: string; password: string }): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
}

function isSame(a: Challenge, b: Challenge | undefined): boolean {
  return (
    a.scheme === b?.scheme &&
    JSON.stringify([...a.parameters].sort()) === JSON.stringify([...b.parameters].sort())
  )
}

const MAX_ANSWER = 1024 * 1024
const DEFAULT_LIFE_S = 60
const MAX_LIFE_S = 24 * 3600
