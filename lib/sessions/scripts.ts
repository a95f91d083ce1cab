/** The scripts that write sessions. A record is `created.expires.…` in base 36; the fields `u` and `k` are the user's, not a session's. */
import { defineScript } from '../redis/script.ts'

/**
 * KEYS  sessions of the user, session_keys of the user
 * ARGV  sid, record, now (s), session ends at (s), unionid or '', most sessions, packed session_key, it ends at (s), keys to keep
 *
 * Drops what has run out and, over the limit, the oldest session; adds the new session; puts the session_key in front of
 * those held. A key whose fingerprint (bytes 5 to 8 of its record) is the new one's is the same key again.
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

    redis.call('HSET', KEYS[1], ARGV[1], ARGV[2], 'k', ARGV[8])
    if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'u', ARGV[5]) end
    redis.call('EXPIREAT', KEYS[1], lastEnd)

    local kept = { ARGV[7] }
    local lastKeyEnd = tonumber(ARGV[8])
    local history = redis.call('GET', KEYS[2]) or ''
    local at = 1
    while at < #history and #kept < tonumber(ARGV[9]) do
      local stop = at + 8 + string.byte(history, at + 8)
      local record = string.sub(history, at, stop)
      local ends = struct.unpack('>I4', record)
      if ends > now and string.sub(record, 5, 8) ~= string.sub(ARGV[7], 5, 8) then
        kept[#kept + 1] = record
        if ends > lastKeyEnd then lastKeyEnd = ends end
      end
      at = stop + 1
    end
    redis.call('SET', KEYS[2], table.concat(kept), 'EXAT', lastKeyEnd)
  `
)

/**
 * KEYS  sessions of the user, session_keys of the user
 * ARGV  sid; nothing: all sessions
 *
 * With the last session everything else that is held of the user goes too.
 */
export const CLOSE_SESSION = defineScript(
  2,
  `
    if ARGV[1] then
      redis.call('HDEL', KEYS[1], ARGV[1])
      for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
        if field ~= 'u' and field ~= 'k' then return end
      end
    end
    redis.call('DEL', KEYS[1], KEYS[2])
  `
)
