/** POST /wxa/getwxacodeunlimit: a picture, or JSON that says why not. */
import type { SandboxApp } from '../options.ts'
import { Refusal } from '../wire/errcodes.ts'
import { jpeg, png } from '../wire/pictures.ts'
import { managed } from './managed.ts'
import { secured } from './secured.ts'
import { jsonBody } from './weixin.ts'

const SCENE = /^[0-9A-Za-z!#$&'()*+,/:;=?@\-._~]+$/

/** 40129 for what cannot stand in a scene, 40169 for its length, 85096 for WeChat's own name in it. */
function checkScene(scene: unknown): void {
  if (typeof scene !== 'string' || scene === '' || scene.length > 32) throw new Refusal(40169)
  if (!SCENE.test(scene)) throw new Refusal(40129)
  if (scene.includes('scancode_time')) throw new Refusal(85096)
}

/** Without page the code opens the first page. `check_path: false` accepts unpublished pages, but not misspelt ones. */
function checkPage(page: unknown, checkPath: unknown, app: SandboxApp | undefined): void {
  if (page === undefined || page === '') return
  if (typeof page !== 'string' || page.startsWith('/') || page.includes('?')) throw new Refusal(41030)
  if (checkPath !== false && !isPublished(app, page)) throw new Refusal(41030)
}

export function isPublished(app: SandboxApp | undefined, page: string): boolean {
  return app?.pages?.includes(page) ?? true
}

function checkWidth(width: unknown): void {
  if (width === undefined) return
  if (!Number.isInteger(width) || Number(width) < 280 || Number(width) > 1280) throw new Refusal(40097)
}

export const unlimitedQrCode = secured(
  managed({
    api: 'getwxacodeunlimit',
    url: '/wxa/getwxacodeunlimit',
    method: 'POST',
    work(world, appid, request) {
      const fields = jsonBody(request)
      if (fields === undefined) throw new Refusal(40169)
      checkScene(fields.scene)
      checkPage(fields.page, fields.check_path, world.apps.get(appid))
      checkWidth(fields.width)
      return fields.is_hyaline === true ? png : jpeg
    }
  })
)
