/**
 * The scripts that write sessions. A record is `created.expires.…` in base 36 (record.ts); the fields `u` and `k` are
 * the user's, not a session's. What is damaged counts as absent, and a key of another type is made anew at the next
 * login.
 */
import { CALL_IF_TYPE, defineScript } from '../redis/script.ts'

/**
 * A record's parts, or nothing where it is damaged. The end comes from the login on where that is earlier: the
 * version before wrote no such end.
 */
const READ_RECORD = `
    local function readRecord(record, maxAge)
      local pattern = '^([0-9a-z]+)%.([0-9a-z]+)%.([0-9a-z]+)%.?([0-9a-z]*)$'
      local created, ends, generation, renewed = string.match(record, pattern)
      if not created or math.max(#created, #ends, #generation, #renewed) > 7 then return nil end
      created, ends, generation = tonumber(created, 36), tonumber(ends, 36), tonumber(generation, 36)
      if maxAge > 0 then ends = math.min(ends, created + maxAge) end
      return created, ends, generation, tonumber(renewed, 36)
    end
`

/** The records of a user's session_keys, newest first; one that is cut short ends the list. */
const READ_HISTORY = `
    local function readHistory(history)
      local records, at = {}, 1
      while type(history) == 'string' and at + 8 <= #history do
        local stop = at + 8 + string.byte(history, at + 8)
        if stop > #history then break end
        records[#records + 1] = string.sub(history, at, stop)
        at = stop + 1
      end
      return records
    end
`

/**
 * KEYS  sessions of the user, session_keys of the user
 * ARGV  sid, record, now (s), session ends at (s), unionid or '', most sessions, packed session_key, it ends at (s),
 *       keys to keep, oldest age of a session (s; 0: none)
 *
 * Drops what has run out and, over the limit, the oldest session; adds the new session; puts the session_key in front
 * of those held. A key whose fingerprint (bytes 5 to 8 of its record) is the new one's is the same key again, and
 * keeps its place: WeChat never goes back to an older key, so that this login asked before that key was replaced, and
 * only comes late.
 */
export const OPEN_SESSION = defineScript(
  2,
  `${CALL_IF_TYPE}${READ_RECORD}${READ_HISTORY}
    local now = tonumber(ARGV[3])
    local lastEnd = tonumber(ARGV[4])
    local fields = callIfType('HGETALL', KEYS[1])
    if not fields then
      redis.call('DEL', KEYS[1])
      fields = {}
    end
    local count, oldest, oldestAt = 0, nil, nil
    for i = 1, #fields, 2 do
      if #fields[i] == #ARGV[1] then
        local created, ends = readRecord(fields[i + 1], tonumber(ARGV[10]))
        if not created or ends <= now then
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
    for _, record in ipairs(readHistory(callIfType('GET', KEYS[2]))) do
      local ends = struct.unpack('>I4', record)
      if string.sub(record, 5, 8) == string.sub(ARGV[7], 5, 8) then
        place = #kept + 1
      elseif ends > now then
        kept[#kept + 1] = record
      end
    end
    table.insert(kept, place, ARGV[7])
    local most = math.min(#kept, tonumber(ARGV[9]))
    local lastKeyEnd = 0
    for i = 1, most do lastKeyEnd = math.max(lastKeyEnd, (struct.unpack('>I4', kept[i]))) end
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
 * The new key comes right in front of the one that it replaces, and ends with it. What stands further in front is
 * newer: a login came meanwhile. Nothing changes where that login brought the new key already, or where the one
 * replaced is held no more.
 */
export const REPLACE_KEY = defineScript(
  1,
  `${CALL_IF_TYPE}${READ_HISTORY}
    local fresh = ARGV[2]
    local kept, found = {}, false
    for _, record in ipairs(readHistory(callIfType('GET', KEYS[1]))) do
      local fingerprint = string.sub(record, 5, 8)
      if fingerprint == string.sub(fresh, 5, 8) then return end
      if fingerprint == ARGV[1] then
        found = true
        kept[#kept + 1] = string.sub(record, 1, 4) .. string.sub(fresh, 5)
      end
      kept[#kept + 1] = record
    end
    if not found then return end
    local most = math.min(#kept, tonumber(ARGV[3]))
    redis.call('SET', KEYS[1], table.concat(kept, '', 1, most), 'KEEPTTL')
  `
)

/** Ends one session; with the last one everything else that is held of the user goes too. */
const END_SESSION = `${CALL_IF_TYPE}
    local function endSession(sid)
      local fields = callIfType('HDEL', KEYS[1], sid) and redis.call('HKEYS', KEYS[1]) or {}
      for _, field in ipairs(fields) do
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
 * ARGV    sid, generation of the refresh token, now (s), new end (s), grace (s), oldest age of a session (s; 0: none)
 * RETURN  'renewed', record, unionid or nil, end of the session_key or nil · 'gone' · 'damaged' · 'reused'
 *
 * One successor for each token: whoever comes second within the grace gets what the first one got. An older token
 * ends the session.
 */
export const RENEW_SESSION = defineScript(
  2,
  `${READ_RECORD}${END_SESSION}
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

    local record = callIfType('HGET', KEYS[1], ARGV[1])
    if record == false then return { 'gone' } end
    local maxAge = tonumber(ARGV[6])
    local created, ends, current, renewed
    if record then created, ends, current, renewed = readRecord(record, maxAge) end
    if not created then return { 'damaged' } end
    local now, presented = tonumber(ARGV[3]), tonumber(ARGV[2])
    if ends <= now then return { 'gone' } end

    if presented == current then
      local newEnd = tonumber(ARGV[4])
      if maxAge > 0 then newEnd = math.min(newEnd, created + maxAge) end
      record = table.concat({ base36(created), base36(newEnd), base36(current + 1), base36(now) }, '.')
      redis.call('HSET', KEYS[1], ARGV[1], record)
      redis.call('EXPIREAT', KEYS[1], newEnd, 'GT')
    elseif presented ~= current - 1 or now - (renewed or 0) > tonumber(ARGV[5]) then
      endSession(ARGV[1])
      return { 'reused' }
    end
    local unionid, keyEnds = unpack(redis.call('HMGET', KEYS[1], 'u', 'k'))
    return { 'renewed', record, unionid, keyEnds }
  `
)
