// What src/registry/transport.ts uses of undici, bundled by scripts/bundle.mjs: loaded in 21 ms, the whole package in 46.

import api from 'undici/lib/api/index.js'
import Agent from 'undici/lib/dispatcher/agent.js'
import Dispatcher from 'undici/lib/dispatcher/dispatcher.js'
import ProxyAgent from 'undici/lib/dispatcher/proxy-agent.js'

// As the package's own index.js does it.
Object.assign(Dispatcher.prototype, api)

export { Agent, ProxyAgent }
