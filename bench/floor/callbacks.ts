/** WeChat's callbacks at the floor: verified, opened, recorded once. They are not compared with an order. */
import { createDecipheriv, hash, verify } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { parse } from 'node:querystring'
import { answer, type FloorExchange } from './answer.ts'
import type { FloorEvents } from './events.ts'
import type { FloorOptions } from './options.ts'

type Keys = 'apiV2Key' | 'apiV3Key' | 'publicKey' | 'pushToken' | 'pushAesKey' | 'pushIv'

export interface FloorCallbacksOptions extends Pick<FloorOptions, 'appid' | 'mchid' | Keys> {
  events: FloorEvents
}

/** As decrypted from a notice of v3. */
interface FloorTransaction {
  out_trade_no: string
  transaction_id: string
  payer: { openid: string }
  amount: { total: number }
}

interface FloorResource {
  ciphertext: string
  associated_data: string
  nonce: string
}

const FIELD = /<(\w+)>(?:<!\[CDATA\[(.*?)\]\]>|([^<]*))<\/\1>/g
const DONE = '<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>'
const TAG_BYTES = 16
/** In front of a pushed message: random bytes, and its length. */
const RANDOM_BYTES = 16
const MESSAGE_AT = RANDOM_BYTES + 4

export class FloorCallbacks {
  readonly #options: FloorCallbacksOptions

  constructor(options: FloorCallbacksOptions) {
    this.#options = options
  }

  async payV2({ response, body }: FloorExchange): Promise<void> {
    const { mchid, apiV2Key, events } = this.#options
    const fields = new Map<string, string>()
    for (const [, name = '', inCdata, bare = ''] of body.toString().matchAll(FIELD)) fields.set(name, inCdata ?? bare)
    const signed = [...fields.keys()].sort().filter((name) => name !== 'sign' && fields.get(name) !== '')
    const text = signed.map((name) => `${name}=${fields.get(name)}`).join('&')
    if (hash('md5', `${text}&key=${apiV2Key}`).toUpperCase() !== fields.get('sign')) throw new Error('a wrong sign')
    const transactionId = fields.get('transaction_id')
    await events.record(`pay_${mchid}_${transactionId}`, 'payment.succeeded', {
      mchid,
      outTradeNo: fields.get('out_trade_no'),
      transactionId,
      openid: fields.get('openid'),
      totalFen: Number(fields.get('total_fee'))
    })
    answer(response, 'text/xml', DONE)
  }

  async payV3({ request, response, body }: FloorExchange): Promise<void> {
    const { mchid, events } = this.#options
    if (!this.#isSigned(request.headers, body)) throw new Error('a wrong signature')
    const paid: FloorTransaction = JSON.parse(this.#openResource(JSON.parse(body.toString()).resource))
    await events.record(`pay_${mchid}_${paid.transaction_id}`, 'payment.succeeded', {
      mchid,
      outTradeNo: paid.out_trade_no,
      transactionId: paid.transaction_id,
      openid: paid.payer.openid,
      totalFen: paid.amount.total
    })
    response.writeHead(204).end()
  }

  async push({ request, response, body }: FloorExchange): Promise<void> {
    const { appid, pushToken, events } = this.#options
    const { timestamp, nonce, msg_signature } = parse((request.url ?? '').split('?', 2)[1] ?? '')
    const { Encrypt } = JSON.parse(body.toString())
    if (hash('sha1', [pushToken, timestamp, nonce, Encrypt].sort().join('')) !== msg_signature)
      throw new Error('a wrong msg_signature')
    const message = this.#openMessage(Encrypt)
    // A number of JSON would lose its last digits.
    const [, messageId] = /"MsgId":(\d+)/.exec(message) ?? []
    await events.record(`msg_${appid}_${messageId}`, 'message.received', JSON.parse(message))
    answer(response, 'text/plain', 'success')
  }

  #isSigned(headers: IncomingHttpHeaders, body: Buffer): boolean {
    const { 'wechatpay-timestamp': timestamp, 'wechatpay-nonce': nonce, 'wechatpay-signature': signature } = headers
    const message = Buffer.from(`${timestamp}\n${nonce}\n${body}\n`)
    return verify('sha256', message, this.#options.publicKey, Buffer.from(String(signature), 'base64'))
  }

  #openResource({ ciphertext, associated_data, nonce }: FloorResource): string {
    const sealed = Buffer.from(ciphertext, 'base64')
    const decipher = createDecipheriv('aes-256-gcm', this.#options.apiV3Key, nonce)
    decipher.setAAD(Buffer.from(associated_data)).setAuthTag(sealed.subarray(-TAG_BYTES))
    return decipher.update(sealed.subarray(0, -TAG_BYTES), undefined, 'utf8') + decipher.final('utf8')
  }

  #openMessage(encrypted: string): string {
    const { pushAesKey, pushIv } = this.#options
    const decipher = createDecipheriv('aes-256-cbc', pushAesKey, pushIv).setAutoPadding(false)
    const bytes = Buffer.concat([decipher.update(encrypted, 'base64'), decipher.final()])
    return bytes.toString('utf8', MESSAGE_AT, MESSAGE_AT + bytes.readUInt32BE(RANDOM_BYTES))
  }
}
