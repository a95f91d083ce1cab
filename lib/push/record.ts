/** Records a message once. WeChat's MsgId is its identity, but one MsgId may come with several messages. */
import type { Event, EventRecorder } from '../events/queue.ts'
import type { PushMessage } from './message.ts'

export interface RecordedMessage {
  /** The webhook-id. */
  id: string
  verdict: 'recorded' | 'duplicate'
}

/** Hex digits of its hash that tell another message under the same MsgId apart. */
const OTHER_DIGITS = 16

/** Throws where Redis does not say that it holds the event. */
export async function recordMessage(
  events: Pick<EventRecorder, 'record'>,
  appid: string,
  message: PushMessage
): Promise<RecordedMessage> {
  const id = `msg_${appid}_${message.msgId ?? message.contentHash}`
  const recorded = await events.record(eventOf(id, appid, message))
  if (recorded !== 'conflict') return { id, verdict: recorded }
  const otherId = `${id}_${message.contentHash.slice(0, OTHER_DIGITS)}`
  const other = await events.record(eventOf(otherId, appid, message))
  return { id: otherId, verdict: other === 'recorded' ? 'recorded' : 'duplicate' }
}

/** Version 0.1 told no messages of one id apart: what it recorded counts as this one. */
function eventOf(id: string, appid: string, message: PushMessage): Event {
  const { openid, msgType, event, createTime, contentHash, raw } = message
  return {
    id,
    type: 'message.received',
    timestamp: createTime,
    data: { appid, openid, msgType, ...(event !== undefined && { event }), createTime, raw },
    essence: contentHash,
    formerEssence: id,
    isPatient: true
  }
}
