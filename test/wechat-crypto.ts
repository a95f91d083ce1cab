/** The package wechat-crypto, which is older than types: message push as an independent implementation does it. */
import { createRequire } from 'node:module'

export interface Crypt {
  getSignature(timestamp: string, nonce: string, encrypted: string): string
  decrypt(encrypted: string): { message: string; id: string }
  encrypt(text: string): string
}

export const WXBizMsgCrypt: new (token: string, aesKey: string, appid: string) => Crypt = createRequire(
  import.meta.url
)('wechat-crypto')
