/**
 * POST /cgi-bin/media/upload: a file as multipart, for which WeChat returns an id. The bytes are counted and hashed,
 * not kept.
 */
import { Refusal } from '../wire/errcodes.ts'
import { makeMediaId } from '../wire/random.ts'
import type { World } from '../world.ts'
import { managed } from './managed.ts'
import type { Incoming } from './serve.ts'
import { queryText } from './weixin.ts'

const TYPES = ['image', 'voice', 'video', 'thumb']

/**
 * The body must have the boundary that its header names, and a part called media. Without them it is 41005, which is a
 * guess.
 */
function checkMedia({ headers, body }: Incoming): void {
  const boundary = /^multipart\/form-data;.*boundary="?([^";]+)/i.exec(headers['content-type'] ?? '')?.[1]
  if (boundary === undefined || !Buffer.isBuffer(body)) throw new Refusal(41005)
  if (!body.includes(`--${boundary}`) || !body.includes('name="media"')) throw new Refusal(41005)
}

function upload(world: World, request: Incoming): object {
  const type = queryText(request, 'type') ?? ''
  if (!TYPES.includes(type)) throw new Refusal(40004)
  checkMedia(request)
  return { type, media_id: makeMediaId(), created_at: Math.floor(world.now() / 1000) }
}

export const mediaUpload = managed({
  api: 'media_upload',
  url: '/cgi-bin/media/upload',
  method: 'POST',
  work: (world, _appid, request) => upload(world, request)
})
