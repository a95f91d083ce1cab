/** Loaded into every measured server by --import: tells what the process used, and profiles a stretch of its work. */
import { writeFileSync } from 'node:fs'
import { Session } from 'node:inspector/promises'
import { answerQuestions } from './rpc.ts'

const SAMPLING_MICROSECONDS = 500

let profiler: Session | undefined

answerQuestions({
  cpuMicroseconds() {
    const { user, system } = process.cpuUsage()
    return user + system
  },

  rssBytes: () => process.memoryUsage.rss(),

  async startProfile() {
    profiler = new Session()
    profiler.connect()
    await profiler.post('Profiler.enable')
    await profiler.post('Profiler.setSamplingInterval', { interval: SAMPLING_MICROSECONDS })
    await profiler.post('Profiler.start')
  },

  async stopProfile(file: string) {
    const stopped = await profiler?.post('Profiler.stop')
    writeFileSync(file, JSON.stringify(stopped?.profile))
    profiler?.disconnect()
  }
})

// A server that closes has to end by itself, as it would without us.
process.channel?.unref()
