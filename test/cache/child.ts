// Run as a process of its own by the tests that race and kill: node child.js COMMAND CACHE-DIR [ARGUMENT].
import fs from 'node:fs/promises'
import { appendFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { Cache } from '../../src/cache/cache.js'
import { fillLayer, writeEverything, writeLayer } from './layers.js'

const [, , command = '', dir = '', argument = ''] = process.argv

switch (command) {
  case 'write': {
    // Layers, one after the other, until somebody kills it.
    const cache = await Cache.open({ dir })
    say('ready')
    for (let seed = Number(argument); ; seed++) say(await writeEverything(cache, seed))
  }
  case 'write-one': {
    // One layer; argument is the number of the file operation before which the machine goes down.
    const cache = await Cache.open({ dir })
    const count = stopBefore(Number(argument))
    say(await writeEverything(cache, 1))
    say(`done ${count()}`)
    break
  }
  case 'add': {
    // Adds to a number in a file, reading and writing in two steps, which only a lock makes right.
    const cache = await Cache.open({ dir })
    for (let i = 0; i < Number(argument); i++) {
      await cache.withLock('number', async () => {
        const path = `${dir}/number`
        const number = Number(await fs.readFile(path, 'utf8'))
        await new Promise(setImmediate)
        await fs.writeFile(path, String(number + 1))
      })
    }
    break
  }
  case 'hold': {
    // Takes a lock and keeps it until it is killed; argument `exit` ends in an orderly way instead.
    const cache = await Cache.open({ dir })
    await cache.withLock('held', async () => {
      say('holding')
      if (argument === 'exit') process.exit(0)
      await new Promise((resolve) => setTimeout(resolve, 1_000_000))
    })
    break
  }
  case 'steal': {
    // Waits for a line on standard input, takes the lock, notes when it holds it and when it lets go.
    const cache = await Cache.open({ dir })
    say('ready')
    await new Promise((resolve) => process.stdin.once('data', resolve))
    await cache.withLock('held', async () => {
      appendFileSync(`${dir}/history`, '+')
      await new Promise((resolve) => setTimeout(resolve, 5))
      appendFileSync(`${dir}/history`, '-')
    })
    process.stdin.destroy()
    break
  }
  case 'pin': {
    const cache = await Cache.open({ dir })
    await cache.pin(argument.split(','))
    await cache.stage()
    say('pinned')
    await new Promise((resolve) => setTimeout(resolve, 1_000_000))
    break
  }
  case 'publish': {
    // Waits for a line on standard input, then publishes the same layer as the others.
    const cache = await Cache.open({ dir })
    say('ready')
    await new Promise((resolve) => process.stdin.once('data', resolve))
    say((await writeLayer(cache, fillLayer(7, 1_500_000))).published)
    process.stdin.destroy()
    break
  }
  default:
    throw new Error(`no such command: ${command}`)
}

/** Makes the process kill itself before its n-th file operation; gives a counter of those that were made. */
function stopBefore(stop: number): () => number {
  let count = 0
  const wrap = (target: object, names: readonly string[]): void => {
    for (const name of names) {
      const original = Reflect.get(target, name) as (...args: unknown[]) => unknown
      Reflect.set(target, name, function (this: unknown, ...args: unknown[]) {
        count++
        if (count === stop) process.kill(process.pid, 'SIGKILL')
        return Reflect.apply(original, this, args)
      })
    }
  }
  wrap(fs, ['open', 'mkdir', 'rename', 'link', 'unlink', 'rm', 'writeFile', 'utimes'])
  wrapHandles((handle) => {
    wrap(handle, ['writev', 'sync', 'datasync', 'close'])
  })
  syncBuiltinESMExports()
  return () => count
}

function wrapHandles(wrap: (handle: object) => void): void {
  const open = fs.open
  fs.open = async (...args) => {
    const handle = await open(...args)
    wrap(handle)
    return handle
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
