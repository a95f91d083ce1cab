/** WeChat for the benchmark: the sandbox in a process of its own, told over the channel what users do. */
import { type Sandbox, type SandboxOptions, startSandbox } from '../sandbox/index.ts'
import { answerQuestions } from './rpc.ts'

export interface UsersOfApp {
  appid: string
  openids: string[]
}

let running: Sandbox | undefined

function sandbox(): Sandbox {
  if (running === undefined) throw new Error('the sandbox has not been started')
  return running
}

answerQuestions({
  async start(options: SandboxOptions): Promise<string> {
    running = await startSandbox(options)
    return running.origin
  },

  /** Every user calls wx.login: a code for each. */
  codes: ({ appid, openids }: UsersOfApp): string[] => openids.map((openid) => sandbox().login({ appid, openid }).code),

  /** Every user presses the phone button: what their pages get. */
  phones: ({ appid, openids }: UsersOfApp) =>
    openids.map((openid) => {
      const { encryptedData, iv } = sandbox().phoneButton({ appid, openid })
      return { encryptedData, iv }
    })
})
