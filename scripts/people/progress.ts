const WIDTH = 30

/** A progress bar in a terminal; elsewhere, a line for each tenth. */
export function openProgress(total: number, out: NodeJS.WriteStream = process.stderr) {
  const began = Date.now()
  let tenth = -1
  return (done: number, words: string) => {
    const share = total === 0 ? 1 : done / total
    const perSecond = Math.round((done / Math.max(1, Date.now() - began)) * 1000)
    const text = `${done} of ${total} · ${words} · ${perSecond} a second`
    if (out.isTTY) {
      const bar = '█'.repeat(Math.round(share * WIDTH)).padEnd(WIDTH, '░')
      out.write(`\r\x1b[K${bar} ${text}${done >= total ? '\n' : ''}`)
    } else if (Math.floor(share * 10) > tenth) {
      tenth = Math.floor(share * 10)
      out.write(`${text}\n`)
    }
  }
}
