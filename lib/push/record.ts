/** Records a message once: by its MsgId, or by all that it says where it has none. */
import type { EventRecorder } from '../events/queue.ts'
import type { PushMessage } from './message.ts'

export interface RecordedMessage {
  /** The webhook-id. */
  id: string
  verdict: 'recorded' | 'duplicate'
}

/** Throws where Redis does not say that it holds the event. */
export async function recordMessage(
  events: Pick<EventRecorder, 'record'>,
  appid: string,
  message: PushMessage
): Promise<RecordedMessage> {
  const id = `msg_${appid}_${message.msgId ?? message.contentHash}`
  const { openid, msgType, event, createTime, raw } = message
  const recorded = await events.record({
    id,
    type: 'message.received',
    timestamp: createTime,
    data: { appid, openid, msgType, ...(event !== undefined && { event }), createTime, raw },
    essence: id,
    isPatient: true
  })
  return { id, verdict: recorded === 'recorded' ? 'recorded' : 'duplicate' }
}
