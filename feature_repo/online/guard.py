"""The guard of the online store: scripts that let a row or a state only move on, whoever writes it, and their pipelines.

A row has a rank: epoch, event time, and the offset of the record behind it, or of a row that Feast wrote none, which
sorts below all. The stream's row is stored if its rank is greater than the stored one's; Feast's also at the same rank, so
that the last of its writes at one event time stays. What is stored tells its rank itself: `_row` does if its event time
is that of `_ts`; else a client that knows nothing of us wrote the row, and `_ts` counts.

Place in the flow: `online` (the stream) and `guarded_store` (Feast) write through it. Each call touches the one key that
it is given, so it runs on a Redis Cluster too.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from redis.exceptions import NoScriptError

from feature_repo.online import layout
from feature_repo.online.connections import AsyncClient, Client

AT_ONCE = 1_000  # calls in a pipeline; a thousand rows of forty features are about half a megabyte
_TRIES = 3  # a script may be flushed, or its server replaced, between loading it and calling it

Call = tuple[bytes | str, Sequence[bytes | str | int]]


@dataclass(frozen=True)
class Script:
    """A Lua script, called with one key and arguments."""

    text: str

    @cached_property
    def sha(self) -> str:
        """How Redis names the script."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


# `rank_of` reads a protobuf Timestamp. A Lua number is a double, exact up to 2^53, so the microseconds are put together
# from halves; a negative number comes as ten bytes of its two's complement.
_RANK_OF = f"""
local function varint(data, at)
  local value, complement, scale, byte = 0, 0, 1, 0
  repeat
    byte = string.byte(data, at)
    at = at + 1
    if scale < 9223372036854775808 then
      value = value + byte % 128 * scale
      complement = complement + (127 - byte % 128) * scale
    end
    scale = scale * 128
  until byte < 128
  if scale > 9223372036854775808 then value = -complement - 1 end
  return value, at
end

local function time_of(stamp)
  local parts, at, tag = {{}}, 1, 0
  while at <= #stamp do
    tag, at = varint(stamp, at)
    parts[tag], at = varint(stamp, at)
  end
  local seconds, micros = parts[8] or 0, math.floor((parts[16] or 0) / 1000)
  local thousands = math.floor(seconds / 65536) * 1000000
  local rest = seconds % 65536 * 1000000 + micros
  local upper = thousands + math.floor(rest / 65536)
  return string.format('%08x%08x', math.floor(upper / 65536) + 2147483648, upper % 65536 * 65536 + rest % 65536)
end

local function rank_of(stamp, row)
  if not stamp then return '' end
  local time = time_of(stamp)
  if row and string.sub(row, 9, 24) == time then return string.sub(row, 1, {layout.RANK_LENGTH}) end
  return (row and string.sub(row, 1, 8) or '00000000') .. time .. '{layout.NO_OFFSET}'
end
"""

# KEYS: an entity's hash. ARGV: view, the row's rank, its origin (empty: a view that Feast alone writes, whose rows merge),
# its event time, its fields (four bytes each), its values (each behind its length), seconds until the key expires (0:
# never), position and state (empty: none given). Answers how many of state and row were written.
WRITE = Script(
    _RANK_OF
    + f"""
local key, view, rank, origin, stamp = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local names, values, expires_s, position, state = ARGV[5], ARGV[6], tonumber(ARGV[7]), ARGV[8], ARGV[9]
local stamp_field, row_field, names_field = '{layout.TIMESTAMP}' .. view, '{layout.ROW}' .. view, '{layout.NAMES}' .. view
local held = redis.call('HMGET', key, stamp_field, row_field, names_field, '{layout.POSITION}' .. view)
local written = 0

if position ~= '' and (not held[4] or held[4] < position) then
  redis.call('HSET', key, '{layout.POSITION}' .. view, position, '{layout.STATE}' .. view, state)
  redis.call('PERSIST', key)
  written = 1
end

local held_rank = rank_of(held[1], held[2])
if held_rank > rank or (held_rank == rank and string.sub(rank, 25) ~= '{layout.NO_OFFSET}') then return written end

if origin ~= '' and held[3] and held[3] ~= names then
  local kept = {{}}
  for at = 1, #names, 4 do kept[string.sub(names, at, at + 3)] = true end
  for at = 1, #held[3], 4 do
    local field = string.sub(held[3], at, at + 3)
    if not kept[field] then redis.call('HDEL', key, field) end
  end
end

local row, next_value = {{stamp_field, stamp}}, 1
if origin ~= '' then row = {{stamp_field, stamp, row_field, origin, names_field, names}} end
for at = 1, #names, 4 do
  local value
  value, next_value = struct.unpack('<I4c0', values, next_value)
  row[#row + 1] = string.sub(names, at, at + 3)
  row[#row + 1] = value
end
for first = 1, #row, 4000 do
  redis.call('HSET', key, unpack(row, first, math.min(first + 3999, #row)))
end

if expires_s > 0 then
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if string.sub(field, 1, {len(layout.STATE)}) == '{layout.STATE}' then return written + 1 end
  end
  redis.call('EXPIRE', key, expires_s)
end
return written + 1
"""
)

# KEYS: an entity's hash. ARGV: view, the first epoch that stays (as eight hexadecimal digits; empty: none does), the
# view's fields. Removes the view's row and state, and the key if no other view has anything in it. Answers 1 if it removed
# any, else 0.
REMOVE = Script(
    _RANK_OF
    + f"""
local key, view, first_epoch, names = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local stamp_field, row_field, names_field = '{layout.TIMESTAMP}' .. view, '{layout.ROW}' .. view, '{layout.NAMES}' .. view
local held = redis.call('HMGET', key, stamp_field, row_field, names_field, '{layout.POSITION}' .. view)
local removed = 0

local function goes(epoch) return first_epoch == '' or epoch < first_epoch end

if held[1] and goes(string.sub(rank_of(held[1], held[2]), 1, 8)) then
  removed = redis.call('HDEL', key, stamp_field, row_field, names_field)
  names = names .. (held[3] or '')
  for at = 1, #names, 4 do redis.call('HDEL', key, string.sub(names, at, at + 3)) end
end
if held[4] and goes(string.sub(held[4], 1, 8)) then
  removed = removed + redis.call('HDEL', key, '{layout.POSITION}' .. view, '{layout.STATE}' .. view)
end
if removed == 0 then return 0 end

for _, field in ipairs(redis.call('HKEYS', key)) do
  if string.find(field, '^{layout.TIMESTAMP}') or string.find(field, '^{layout.STATE}') then return 1 end
end
redis.call('DEL', key)
return 1
"""
)

# KEYS: a watermark, which says where to ask. Answers the identity of the server: another one after a restart or a failover.
SERVER = Script("""
return string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
""")

# KEYS: a watermark. ARGV: what it must be (empty: absent, or of an older epoch), what it becomes, the server that the rows went
# to. Answers whether it moved.
ADVANCE = Script("""
if string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') ~= ARGV[3] then return 0 end
local found = redis.call('GET', KEYS[1]) or ''
local stored, epoch = string.match(found, '^(%d+):'), string.match(ARGV[2], '^(%d+):')
if stored and tonumber(stored) > tonumber(epoch) then return 0 end
if stored ~= epoch then found = '' end
if found ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
""")


def evaluate(client: Client, script: Script, calls: Sequence[Call]) -> list[Any]:
    """The script's answers to `calls`, in their order; loads it where a server lacks it. Raises `RedisError`."""
    return [answer for part in _parts(calls) for answer in _evaluate(client, script, part)]


async def evaluate_async(client: AsyncClient, script: Script, calls: Sequence[Call]) -> list[Any]:
    """As `evaluate`, for asyncio."""
    return [answer for part in _parts(calls) for answer in await _evaluate_async(client, script, part)]


def _evaluate(client: Client, script: Script, calls: Sequence[Call]) -> list[Any]:
    for _ in range(_TRIES):
        pipe = client.pipeline(transaction=False)
        _queue(pipe, script, calls)
        answers = pipe.execute(raise_on_error=False)
        if not _lacks(answers):
            break
        client.script_load(script.text)
    return _checked(answers)


async def _evaluate_async(client: AsyncClient, script: Script, calls: Sequence[Call]) -> list[Any]:
    for _ in range(_TRIES):
        pipe = client.pipeline(transaction=False)
        _queue(pipe, script, calls)
        answers = await pipe.execute(raise_on_error=False)
        if not _lacks(answers):
            break
        await client.script_load(script.text)
    return _checked(answers)


def _queue(pipe: Any, script: Script, calls: Sequence[Call]) -> None:
    for key, arguments in calls:  # a cluster's pipeline has no `evalsha` of its own, yet sends it by its key
        pipe.execute_command("EVALSHA", script.sha, 1, key, *arguments)


def _lacks(answers: Sequence[Any]) -> bool:
    return any(isinstance(answer, NoScriptError) for answer in answers)


def _checked(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def _parts(calls: Sequence[Call]) -> Iterator[Sequence[Call]]:
    return (calls[start : start + AT_ONCE] for start in range(0, len(calls), AT_ONCE))
