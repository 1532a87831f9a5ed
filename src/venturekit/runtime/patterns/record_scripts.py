"""What happens inside of Valkey or Redis, each in one step: Lua scripts over a record's hash and its index sets.

A record is a hash, each value of a key a sorted set of ids. A record that is over is removed by the server. Its ids in
sets are removed when they are come across, and the sets themselves when the last of their records is over.
"""

from __future__ import annotations

from typing import Final

# A script keeps all others waiting: what it looks at in one go is bounded.
SCANNED_AT_ONCE: Final = 1000

_PARTS: Final = """
local function index_key(prefix, name, value) return prefix .. ':key:' .. name .. ':' .. value end

local function is_over(expires, now) return expires ~= '' and tonumber(expires) <= tonumber(now) end

local function held_in(key)
    local held = redis.call('HMGET', key, 'version', 'expires', 'keys', 'token')
    local whole = held[1] and held[2] and held[3] and held[4]
    return held, whole, not whole and redis.call('EXISTS', key) == 1
end

local function leave_indexes(prefix, id, keys)
    for name, value in pairs(cjson.decode(keys)) do redis.call('ZREM', index_key(prefix, name, value), id) end
end
"""

# 1: written, 0: somebody else was faster, 2: what is there is no record.
WRITE: Final = (
    _PARTS
    + """
local id, prefix, now, seen, version, expires, lasts_ms, value, keys, token = unpack(ARGV)
local held, whole, foreign = held_in(KEYS[1])
if foreign then return 2 end
if whole and held[4] == token then return 1 end
local there = whole and not is_over(held[2], now)
if (there and held[1] or '0') ~= seen then return 0 end
-- A full server refuses this, and nothing has been changed.
redis.call('HSET', KEYS[1], 'value', value, 'version', version, 'expires', expires, 'keys', keys, 'token', token)
if whole then leave_indexes(prefix, id, held[3]) end
if lasts_ms == '' then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], lasts_ms) end
for name, key_value in pairs(cjson.decode(keys)) do
    local index = index_key(prefix, name, key_value)
    local remains_ms = redis.call('PTTL', index)
    redis.call('ZADD', index, 0, id)
    if lasts_ms == '' then redis.call('PERSIST', index)
    elseif remains_ms ~= -1 and remains_ms < tonumber(lasts_ms) then redis.call('PEXPIRE', index, lasts_ms) end
end
return 1
"""
)

# 1: it was there and is gone, 0: not, 2: what is there is no record.
DELETE: Final = (
    _PARTS
    + """
local id, prefix, now, seen, token = unpack(ARGV)
local done = prefix .. ':deleted:' .. token
if redis.call('EXISTS', done) == 1 then return 1 end
local held, whole, foreign = held_in(KEYS[1])
if foreign then return 2 end
if not whole or is_over(held[2], now) or (seen ~= '' and held[1] ~= seen) then return 0 end
leave_indexes(prefix, id, held[3])
redis.call('DEL', KEYS[1])
redis.call('SET', done, '', 'PX', 30000)
return 1
"""
)

# The id to go on from, empty behind the last one, and then the records that were found.
FIND: Final = (
    _PARTS
    + """
local prefix, now, wanted, begin, scanned, name, value = unpack(ARGV)
local ids = redis.call('ZRANGEBYLEX', KEYS[1], begin, '+', 'LIMIT', 0, scanned)
local found, last = {''}, ''
for _, id in ipairs(ids) do
    local held = redis.call('HMGET', prefix .. ':record:' .. id, 'value', 'version', 'expires', 'keys')
    if not held[4] or cjson.decode(held[4])[name] ~= value then
        redis.call('ZREM', KEYS[1], id)
    elseif not is_over(held[3] or '', now) then
        found[#found + 1] = {id, held[1], held[2], held[3], held[4]}
    end
    last = id
    if #found > tonumber(wanted) then break end
end
if #found > tonumber(wanted) or #ids == tonumber(scanned) then found[1] = last end
return found
"""
)
