import { Type } from '@sinclair/typebox'
import { NoBody, problems, WECHAT_PROBLEMS } from '../../../../../../_shared/schemas.ts'
import { USER_PROBLEMS, UserParams } from '../../schemas.ts'

export const CheckSessionKeySchema = {
  operationId: 'checkSessionKey',
  tags: ['users'],
  summary: "Ask WeChat whether the user's newest session_key still holds",
  params: UserParams,
  body: NoBody,
  response: {
    200: Type.Object(
      { valid: Type.Boolean({ description: 'false: the user has to log in again, from wx.login on' }) },
      { examples: [{ valid: true }] }
    ),
    ...problems(...USER_PROBLEMS, 'SESSION_KEY_EXPIRED', ...WECHAT_PROBLEMS)
  }
}

export const ResetSessionKeySchema = {
  operationId: 'resetSessionKey',
  tags: ['users'],
  summary: "Have WeChat replace the user's session_key; after a lost answer ask for a check, not for a reset again",
  params: UserParams,
  body: NoBody,
  response: {
    204: Type.Null({ description: 'The new session_key is held.' }),
    ...problems(...USER_PROBLEMS, 'SESSION_KEY_EXPIRED', ...WECHAT_PROBLEMS)
  }
}

export const SignSchema = {
  operationId: 'signWithSessionKey',
  tags: ['users'],
  summary: "Sign data with the user's newest session_key, as virtual payment and user storage need it",
  params: UserParams,
  body: Type.Object(
    {
      data: Type.String({
        // Half of a surrogate pair has no bytes in UTF-8, so that nothing WeChat gets could match its signature.
        pattern: '^[^\\ud800-\\udfff]*$',
        description: 'the exact body of the call to WeChat; empty for a GET'
      })
    },
    { additionalProperties: false, examples: [{ data: '{"foo":"bar"}' }] }
  ),
  response: {
    200: Type.Object(
      { signature: Type.String({ description: 'hex HMAC-SHA256 of the UTF-8 bytes of data' }) },
      { examples: [{ signature: '654571f79995b2ce1e149e53c0a33dc39c0a74090db514261454e8dbe432aa0b' }] }
    ),
    ...problems(...USER_PROBLEMS, 'SESSION_KEY_EXPIRED')
  }
}
