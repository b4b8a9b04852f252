// Writes a tar of COUNT entries: a directory of 1000 small files after the other.
//   node make-big-tar.mjs OUT COUNT

import { closeSync, openSync, writeSync } from 'node:fs'

const [out, count] = [process.argv[2], Number(process.argv[3])]
const file = openSync(out, 'w')
let pending = []
const flush = () => {
  if (pending.length > 0) writeSync(file, Buffer.concat(pending))
  pending = []
}

function entry(name, type, content) {
  const header = Buffer.alloc(512)
  const put = (text, at) => header.write(text, at, 'latin1')
  put(name, 0)
  put(type === '5' ? '0000755\0' : '0000644\0', 100)
  put('0000000\0', 108)
  put('0000000\0', 116)
  put(content.length.toString(8).padStart(11, '0') + '\0', 124)
  put((1700000000).toString(8).padStart(11, '0') + '\0', 136)
  put('        ', 148)
  put(type, 156)
  put('ustar\x0000', 257)
  let sum = 0
  for (const byte of header) sum += byte
  put(sum.toString(8).padStart(6, '0') + '\0 ', 148)
  const padding = Buffer.alloc((512 - (content.length % 512)) % 512)
  pending.push(header, content, padding)
  if (pending.length > 3000) flush()
}

for (let index = 0; index < count; index++) {
  const directory = `srv/d${Math.floor(index / 1000)}`
  if (index % 1000 === 0) entry(`${directory}/`, '5', Buffer.alloc(0))
  else entry(`${directory}/file-${index}`, '0', Buffer.from(`content of ${index}\n`))
}
pending.push(Buffer.alloc(1024))
flush()
closeSync(file)
