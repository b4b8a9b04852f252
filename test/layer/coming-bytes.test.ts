import t from 'tap'
import { ComingBytes } from '../../src/layer/coming-bytes.js'

/** A request whose bytes come when it is told. */
function request(): {
  coming: ComingBytes
  arrive: (length: number) => void
  end: () => void
  fail: (error: Error) => void
} {
  const bytes = Buffer.from('0123456789')
  const handles = {
    arrive: (_: number): void => undefined,
    end: (): void => undefined,
    fail: (_: Error): void => undefined,
  }
  const coming = new ComingBytes(
    (onArrived) =>
      new Promise((resolve, reject) => {
        handles.arrive = (length): void => {
          onArrived(bytes, length)
        }
        handles.end = (): void => {
          resolve(bytes)
        }
        handles.fail = reject
      }),
  )
  return {
    coming,
    arrive: (length) => {
      handles.arrive(length)
    },
    end: () => {
      handles.end()
    },
    fail: (error) => {
      handles.fail(error)
    },
  }
}

async function textOf(stream: AsyncIterable<Buffer>): Promise<string[]> {
  const found: string[] = []
  for await (const bytes of stream) found.push(bytes.toString())
  return found
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

t.test('ComingBytes gives a part as it comes, and no more than that', async (t) => {
  const { coming, arrive, end } = request()
  const middle = textOf(coming.stream(2, 8))
  const front = textOf(coming.stream(0, 3))
  for (const length of [1, 3, 5, 9]) {
    arrive(length)
    await turn()
  }
  t.strictSame(await front, ['0', '12'])
  t.strictSame(await middle, ['2', '34', '567'])
  t.strictSame(await textOf(coming.stream(4, 6)), ['45'], 'also when it was there before')
  const last = textOf(coming.stream(7, 10))
  await turn()
  end()
  t.strictSame(await last, ['78', '9'])
})

t.test('ComingBytes gives everything in the end of a request that calls nobody', async (t) => {
  const { coming, end } = request()
  const all = textOf(coming.stream(0, 10))
  end()
  t.strictSame(await all, ['0123456789'])
})

t.test('ComingBytes tells who takes a part that the rest does not come', async (t) => {
  const { coming, arrive, fail } = request()
  const all = textOf(coming.stream(0, 10))
  arrive(4)
  await turn()
  fail(new Error('cut'))
  await t.rejects(all, { message: 'cut' })
  t.strictSame(await textOf(coming.stream(0, 4)), ['0123'])
})
