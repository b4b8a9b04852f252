// Runs a shell command where it is started and says, as JSON, how many seconds it took and what the registry of registry-server.mjs
// had sent by its end; without a command only that. A program of its own, since the benchmarks wait for what they start.
//
//   node run-and-count.mjs COUNTS-ADDRESS [COMMAND]

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { get } from 'node:http'

const [address, script] = process.argv.slice(2)
const begin = performance.now()
if (script !== undefined) {
  const stdio = ['ignore', 'ignore', 'inherit']
  const [status] = await once(spawn('bash', ['-o', 'pipefail', '-ec', script], { stdio }), 'exit')
  if (status !== 0) throw new Error(`${script}: exit status ${status}`)
}
const seconds = (performance.now() - begin) / 1000
const [response] = await once(get(`http://${address}`), 'response')
const chunks = await response.toArray()
console.log(JSON.stringify({ seconds, ...JSON.parse(Buffer.concat(chunks)) }))
