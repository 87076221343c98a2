#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes redis_commands.h: what a real redis-server says of its commands (COMMAND), and of where the keys of many forms are (COMMAND GETKEYS).

    /usr/bin/python3 tests/unit/redis_commands.py > tests/unit/redis_commands.h       (with redis-server in PATH)
"""

import json
import sys
import tempfile
from pathlib import Path

import redis

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "py"))
from harness.peers.redis import RedisServer  # noqa: E402

# Words as they stand; "" is an empty one. Those that the server refuses are as good as the others.
FORMS = """
GET k|SET k v|set k v NX|SET k v EX 10 GET|GETSET k v|APPEND k v|GETEX k PERSIST|MGET a b c|MSET a 1 b 2|MSETNX a 1 b 2|MSET a 1 b|DEL a
DEL a b c|DEL|UNLINK a b|EXISTS a b|TOUCH a b|RENAME a b|RENAMENX a b|COPY a b|COPY a b DB 1 REPLACE|DUMP k|RESTORE k 0 x|EXPIRE k 1
PERSIST k|TYPE k|KEYS *|SCAN 0 MATCH x|DBSIZE|PING|PING x|ECHO k|RANDOMKEY|BITOP AND d a b|BITCOUNT k|BITFIELD k GET u8 0
BITFIELD_RO k GET u8 0|LCS a b LEN|STRLEN k|SUBSTR k 0 1|INCR k|INCRBYFLOAT k 1|SETRANGE k 0 v|HSET h f v|HMSET h f v|HDEL h f|HGETALL h
HSCAN h 0|HRANDFIELD h 2|LPUSH l v|LMOVE a b LEFT RIGHT|RPOPLPUSH a b|LPOS l v|LINSERT l BEFORE a b|LTRIM l 0 1|BLPOP a b 0|BLPOP a 0
BLPOP a|BLPOP|BRPOP a b c 1|BRPOPLPUSH a b 0|BLMOVE a b LEFT RIGHT 0|BZPOPMIN a b 0|BZPOPMAX a 0|LMPOP 2 a b LEFT|LMPOP 2 a b LEFT COUNT 3
LMPOP 0 LEFT|LMPOP x a LEFT|LMPOP 3 a LEFT|LMPOP 2 a LEFT|BLMPOP 0 2 a b LEFT|BLMPOP 0 1 a RIGHT COUNT 2|ZMPOP 1 z MIN
BZMPOP 1 2 a b MAX COUNT 1|SADD s a|SMOVE a b m|SINTER a b|SINTERSTORE d a b|SUNION a|SUNIONSTORE d a b c|SDIFF a b|SDIFFSTORE d a
SINTERCARD 2 a b|SINTERCARD 2 a b LIMIT 1|SINTERCARD 1 a b|SSCAN s 0|ZADD z 1 a|ZRANGE z 0 1|ZRANGESTORE d s 0 -1|ZUNION 2 a b
ZUNION 2 a b WEIGHTS 1 2|ZUNION 01 a|ZUNION -1 a|ZUNION +1 a|ZINTER 1 a|ZDIFF 2 a b WITHSCORES|ZINTERCARD 2 a b LIMIT 5|ZUNIONSTORE d 2 a b
ZUNIONSTORE d 2 a b WEIGHTS 1 2 AGGREGATE MAX|ZINTERSTORE d 1 a|ZDIFFSTORE d 2 a b|ZUNIONSTORE d 0 a|ZUNIONSTORE d x a|ZUNIONSTORE d 5 a
ZUNIONSTORE d|EVAL s 0|EVAL s 0 a b|EVAL s 1 a|EVAL s 2 a b c|EVAL s 3 a b|EVAL s -1 a|EVAL s x a|EVAL s 9999999999999 a|EVAL s
EVAL_RO s 1 a|EVALSHA x 2 a b y z|EVALSHA_RO x 1 a|FCALL f 1 a|FCALL f 0|FCALL_RO f 2 a b c|XADD s * f v|XADD s MAXLEN 10 * f v|XLEN s
XRANGE s - +|XDEL s 1|XTRIM s MAXLEN 1|XACK s g 1|XCLAIM s g c 1 1-1|XAUTOCLAIM s g c 1 0|XPENDING s g|XSETID s 1-1|XREAD STREAMS s 0
XREAD COUNT 1 BLOCK 0 STREAMS a b 0 0|XREAD STREAMS streams 0|XREAD STREAMS a|XREAD STREAMS a b c 1 2|XREAD STREAMS|XREAD COUNT 2
xread streams A B $ $|XREADGROUP GROUP g c STREAMS a >|XREADGROUP GROUP streams c STREAMS a >|XREADGROUP GROUP g streams STREAMS a b > >
XREADGROUP GROUP g c COUNT 1 NOACK STREAMS a b c > > >|XREADGROUP GROUP g c|XGROUP CREATE s g $ MKSTREAM|XGROUP DESTROY s g
XGROUP SETID s g 0|XGROUP CREATECONSUMER s g c|XGROUP DELCONSUMER s g c|XGROUP HELP|xgroup create s g 0|XINFO STREAM s|XINFO STREAM s FULL
XINFO GROUPS s|XINFO CONSUMERS s g|XINFO HELP|OBJECT ENCODING k|OBJECT FREQ k|OBJECT IDLETIME k|OBJECT REFCOUNT k|OBJECT HELP
object encoding k|MEMORY USAGE k|MEMORY USAGE k SAMPLES 5|MEMORY DOCTOR|MEMORY HELP|MEMORY STATS|SORT k|SORT k STORE d
SORT k BY w* GET o* STORE d|SORT k BY store GET store|SORT k LIMIT 0 1 DESC ALPHA STORE d|SORT k STORE d STORE e
SORT k GET # GET store STORE d|SORT k STORE|SORT k STORE store d|SORT k STORE STORE|sort k store d|SORT_RO k BY w*|SORT_RO k GET store|MIGRATE h 1 k 0 10
MIGRATE h 1 k 0 10 COPY REPLACE|MIGRATE h 1 "" 0 10 KEYS a b c|MIGRATE h 1 "" 0 10 COPY REPLACE AUTH p KEYS a
MIGRATE h 1 "" 0 10 AUTH2 u p KEYS a b|MIGRATE h 1 "" 0 10 AUTH keys KEYS a|MIGRATE h 1 "" 0 10 AUTH2 keys keys KEYS a b
MIGRATE h 1 k 0 10 KEYS a|MIGRATE h 1 k 0 10 AUTH keys|MIGRATE h 1 "" 0 10 KEYS|GEOADD g 1 2 m|GEODIST g a b|GEOPOS g a|GEORADIUS g 1 2 3 m
GEORADIUS g 1 2 3 m STORE d|GEORADIUS g 1 2 3 m STOREDIST d|GEORADIUS g 1 2 3 m COUNT 1 ASC STORE d|GEORADIUS g 1 2 3 m STORE d STOREDIST e
GEORADIUS g 1 2 3 m STORE store|GEORADIUS g 1 2 3 m STORE|GEORADIUS g 1 2 3 STORE d|GEORADIUSBYMEMBER g m 3 km STORE STOREDIST d
GEORADIUS_RO g 1 2 3 m|GEORADIUSBYMEMBER g m 3 km
GEORADIUSBYMEMBER g m 3 km STORE d|GEORADIUSBYMEMBER g store 3 km STOREDIST d|GEORADIUSBYMEMBER_RO g m 3 km
GEOSEARCH g FROMMEMBER m BYRADIUS 1 m|GEOSEARCHSTORE d s FROMMEMBER m BYRADIUS 1 m|PFADD h a|PFCOUNT a b|PFMERGE d a b|PFDEBUG ENCODING k
PUBLISH c m|SPUBLISH c m|WATCH a b|RESTORE-ASKING k 0 x|SCRIPT LOAD x|SCRIPT EXISTS a b|FUNCTION LOAD x|CONFIG GET x|CLUSTER KEYSLOT k
DEBUG OBJECT k|FLUSHALL|FLUSHDB ASYNC|INFO|TIME|ROLE|WAIT 0 0|MULTI|EXEC|CLIENT LIST|SLOWLOG LEN|SLOWLOG GET|CONFIG SET a b|SCRIPT FLUSH
SCRIPT KILL|FUNCTION STATS|LATENCY RESET|SUBSCRIBE a|SSUBSCRIBE a
"""
KEPT_FLAGS = {"readonly", "write", "blocking", "pubsub", "noscript", "movablekeys"}
MOST = 150  # of a line


def words(form: str) -> list[str]:
    return ["" if word == '""' else word for word in form.split()]


def text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def encode(value: object) -> str:
    if isinstance(value, int):
        return f":{value}\r\n"
    if isinstance(value, list | tuple):
        return f"*{len(value)}\r\n" + "".join(map(encode, value))
    return f"${len(text(value))}\r\n{text(value)}\r\n"


def trimmed(entry: list, wanted: set[str]) -> list:
    """An entry without what nobody reads: arities, categories, notes and flags of rules."""
    name, _, flags, first, last, step, _, tips, rules, subcommands = entry
    kept_rules = []
    for rule in rules:
        fields = dict(zip(rule[::2], rule[1::2], strict=True))
        kept_rules.append([b"begin_search", fields[b"begin_search"], b"find_keys", fields[b"find_keys"]])
    kept_tips = [tip for tip in map(text, tips) if "policy" in tip]
    inner = sorted((trimmed(sub, wanted) for sub in subcommands if text(sub[0]) in wanted), key=lambda sub: sub[0])
    return [text(name), 0, sorted(KEPT_FLAGS & set(map(text, flags))), first, last, step, [], kept_tips, kept_rules, inner]


def keys(server: redis.Redis, form: list[str]) -> str | None:
    """The keys as the server finds them; None: it does not take the command."""
    try:
        return " ".join(map(text, server.execute_command("COMMAND GETKEYS", *form)))
    except redis.ResponseError as error:
        return "" if "no key" in str(error) else None


def literal(value: str) -> list[str]:
    """A C++ string, a part a line."""
    whole = json.dumps(value)[1:-1]
    parts = []
    while whole:
        end = min(MOST, len(whole))
        while end < len(whole) and whole[:end].endswith("\\"):
            end -= 1
        parts.append(f'    "{whole[:end]}"')
        whole = whole[end:]
    return parts


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        try:
            write(server.direct())
        finally:
            server.close()


def write(server: redis.Redis) -> None:
    forms = [words(form) for line in FORMS.strip().splitlines() for form in line.split("|")]
    wanted = {form[0].lower() for form in forms} | {"|".join(form[:2]).lower() for form in forms}
    server.connection.send_command("COMMAND")
    entries = sorted((trimmed(entry, wanted) for entry in server.connection.read_response() if text(entry[0]) in wanted), key=lambda entry: entry[0])
    print("// SPDX-License-Identifier: Apache-2.0")
    print(f"// Written by redis_commands.py: what redis-server {server.info('server')['redis_version']} says of its commands.")
    print("#pragma once\n\nnamespace relay::redis {\n")
    print(f"constexpr unsigned kServerCommandCount = {len(entries)};")
    print("// Its reply to COMMAND, without commands and fields that no test needs.")
    print("constexpr char kServerCommands[] =")
    print("\n".join(line for part in [f"*{len(entries)}\r\n", *map(encode, entries)] for line in literal(part)) + ";\n")
    print("// The words of a command, and of these its keys, by COMMAND GETKEYS; nullptr: the server does not take it.")
    print("struct ServerForm {\n  const char* words;\n  const char* keys;\n};\nconstexpr ServerForm kServerForms[] = {")
    for form in forms:
        if len(form) == 1:
            continue  # COMMAND GETKEYS wants more
        found = keys(server, form)
        line = " ".join(word or '""' for word in form)
        print(f"    {{{json.dumps(line)}, {'nullptr' if found is None else json.dumps(found)}}},")
    print("};\n\n}  // namespace relay::redis")


if __name__ == "__main__":
    main()
