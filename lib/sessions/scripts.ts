/** The scripts that write sessions. A record is `created.expires.…` in base 36; the fields `u` and `k` are the user's, not a session's. */
import { defineScript } from '../redis/script.ts'

/**
 * KEYS  sessions of the user, session_keys of the user
 * ARGV  sid, record, now (s), session ends at (s), unionid or '', most sessions, packed session_key, it ends at (s), keys to keep
 *
 * Drops what has run out and, over the limit, the oldest session; adds the new session; puts the session_key in front of
 * those held. A key whose fingerprint (bytes 5 to 8 of its record) is the new one's is the same key again, and keeps its place:
 * WeChat never goes back to an older key, so that this login asked before that key was replaced, and only comes late.
 */
export const OPEN_SESSION = defineScript(
  2,
  `
    local now = tonumber(ARGV[3])
    local lastEnd = tonumber(ARGV[4])
    local fields = redis.call('HGETALL', KEYS[1])
    local count, oldest, oldestAt = 0, nil, nil
    for i = 1, #fields, 2 do
      local created, ends = string.match(fields[i + 1], '^(%w+)%.(%w+)%.')
      if created then
        created, ends = tonumber(created, 36), tonumber(ends, 36)
        if ends <= now then
          redis.call('HDEL', KEYS[1], fields[i])
        else
          count = count + 1
          if ends > lastEnd then lastEnd = ends end
          if oldestAt == nil or created < oldestAt then oldest, oldestAt = fields[i], created end
        end
      end
    end
    if count >= tonumber(ARGV[6]) then redis.call('HDEL', KEYS[1], oldest) end

    local kept, place = {}, 1
    local lastKeyEnd = tonumber(ARGV[8])
    local history = redis.call('GET', KEYS[2]) or ''
    local at = 1
    while at < #history do
      local stop = at + 8 + string.byte(history, at + 8)
      local record = string.sub(history, at, stop)
      local ends = struct.unpack('>I4', record)
      if string.sub(record, 5, 8) == string.sub(ARGV[7], 5, 8) then
        place = #kept + 1
      elseif ends > now then
        kept[#kept + 1] = record
        if ends > lastKeyEnd then lastKeyEnd = ends end
      end
      at = stop + 1
    end
    table.insert(kept, place, ARGV[7])
    local most = math.min(#kept, tonumber(ARGV[9]))
    redis.call('SET', KEYS[2], table.concat(kept, '', 1, most), 'EXAT', lastKeyEnd)

    redis.call('HSET', KEYS[1], ARGV[1], ARGV[2], 'k', (struct.unpack('>I4', kept[1])))
    if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'u', ARGV[5]) end
    redis.call('EXPIREAT', KEYS[1], lastEnd)
  `
)

/**
 * KEYS    session_keys of the user
 * ARGV    fingerprint of the key that was reset, packed new key, keys to keep
 *
 * The new key comes right in front of the one that it replaces, and ends with it. What stands further in front is newer: a login
 * came meanwhile. Nothing changes where that login brought the new key already, or where the one replaced is held no more.
 */
export const REPLACE_KEY = defineScript(
  1,
  `
    local history = redis.call('GET', KEYS[1]) or ''
    local fresh = ARGV[2]
    local kept, found, at = {}, false, 1
    while at < #history do
      local stop = at + 8 + string.byte(history, at + 8)
      local record = string.sub(history, at, stop)
      local fingerprint = string.sub(record, 5, 8)
      if fingerprint == string.sub(fresh, 5, 8) then return end
      if fingerprint == ARGV[1] then
        found = true
        kept[#kept + 1] = string.sub(record, 1, 4) .. string.sub(fresh, 5)
      end
      kept[#kept + 1] = record
      at = stop + 1
    end
    if not found then return end
    local most = math.min(#kept, tonumber(ARGV[3]))
    redis.call('SET', KEYS[1], table.concat(kept, '', 1, most), 'KEEPTTL')
  `
)

/** Ends one session; with the last one everything else that is held of the user goes too. */
const END_SESSION = `
    local function endSession(sid)
      redis.call('HDEL', KEYS[1], sid)
      for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
        if field ~= 'u' and field ~= 'k' then return end
      end
      redis.call('DEL', KEYS[1], KEYS[2])
    end
`

/** KEYS sessions of the user, session_keys of the user · ARGV sid; nothing: all sessions */
export const CLOSE_SESSION = defineScript(
  2,
  `${END_SESSION}
    if ARGV[1] then endSession(ARGV[1]) else redis.call('DEL', KEYS[1], KEYS[2]) end
  `
)

/**
 * KEYS    sessions of the user, session_keys of the user
 * ARGV    sid, generation of the refresh token, now (s), new end (s), grace (s)
 * RETURN  'renewed', record, unionid or nil, end of the session_key or nil · 'gone' · 'reused'
 *
 * One successor for each token: whoever comes second within the grace gets what the first one got. An older token ends the session.
 */
export const RENEW_SESSION = defineScript(
  2,
  `${END_SESSION}
    local digits = '0123456789abcdefghijklmnopqrstuvwxyz'
    local function base36(number)
      local text = ''
      repeat
        local digit = number % 36
        text = string.sub(digits, digit + 1, digit + 1) .. text
        number = (number - digit) / 36
      until number == 0
      return text
    end

    local record = redis.call('HGET', KEYS[1], ARGV[1])
    if not record then return { 'gone' } end
    local created, ends, generation, renewed = string.match(record, '^(%w+)%.(%w+)%.(%w+)%.?(%w*)$')
    local now, presented, current = tonumber(ARGV[3]), tonumber(ARGV[2]), tonumber(generation, 36)
    if tonumber(ends, 36) <= now then return { 'gone' } end

    if presented == current then
      record = table.concat({ created, base36(tonumber(ARGV[4])), base36(current + 1), base36(now) }, '.')
      redis.call('HSET', KEYS[1], ARGV[1], record)
      redis.call('EXPIREAT', KEYS[1], ARGV[4], 'GT')
    elseif presented ~= current - 1 or now - tonumber(renewed, 36) > tonumber(ARGV[5]) then
      endSession(ARGV[1])
      return { 'reused' }
    end
    local unionid, keyEnds = unpack(redis.call('HMGET', KEYS[1], 'u', 'k'))
    return { 'renewed', record, unionid, keyEnds }
  `
)
